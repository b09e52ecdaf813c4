"""Before any comparison: each method's rate, tau, and whether the world can tell offline methods apart.

    python -m polarity_lib.papers.bcpg_nsa.gates    brings data/offline.json up to date with the runs that are finished

Rules, written before any of these runs:

    rate   per method, the rate with the highest mean held-out pass@1 at the end of a run of half the horizon, over two
           validation seeds, among the rates at which no run fell below half of its start; ties go to the lower rate. A best
           rate at an edge of the grid is said so (`at_edge`).
    tau    BCPG's, by the same rule over tau. BCPG-NSA has the same, so that the two differ in the weights alone.
    gates  on four validation seeds: RFT or BCPG brings at least 5 points of held-out pass@1 over the base (the mean), and the
           95 % interval of BCPG-NSA by the oracle's labels minus BCPG-NSA on as many random tokens excludes zero, both with
           beta = -1.

A world that fails is changed by what its base policies show, and measured again; `tries` keeps what failed. The first two tries
asked the second gate at the paper's beta = 0.5, where a world fails that sees labels well if the method just gains little by
them: that is the claims' question. Since the third try it is asked at -1, where wrong tokens are rewarded too if labels are
random, and what 0.5 gives is kept for information (data/pilots.csv says what was known then).
"""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd

from polarity_lib.claims import difference, tail
from polarity_lib.experiments import Runs, experiment, load_finished
from polarity_lib.outside import strict_json
from polarity_lib.papers.bcpg_nsa.experiments import EXPERIMENTS, OFFLINE_FILE, WORLD, offline_record
from polarity_lib.results import write_atomic
from polarity_lib.statistics import paired_t

GAIN = 5.0  # points
METRIC = "validation/pass@1"


def grid_of(runs: Runs, method: str) -> dict[float, dict]:
    """Level -> mean pass@1 at the start and at the end, and whether a run collapsed; of the arms `<method>/<level>`."""
    rows = runs.metrics[(runs.metrics.metric == METRIC) & runs.metrics.arm.str.startswith(f"{method}/")].sort_values("step")
    ends = rows.groupby(["arm", "seed"]).value.agg(["first", "last"]).reset_index()
    cells = {}
    for arm, found in ends.groupby("arm"):
        cells[float(arm.partition("/")[2])] = {
            "start": round(float(found["first"].mean()), 4), "end": round(float(found["last"].mean()), 4),
            "collapsed": bool((found["last"] < 0.5 * found["first"]).any()), "seeds": len(found)}
    return dict(sorted(cells.items()))


def best_level(grid: dict[float, dict]) -> float:
    """The rule of the module's head, on one grid."""
    stable = [level for level, cell in grid.items() if not cell["collapsed"]] or [min(grid)]
    return min(stable, key=lambda level: (-grid[level]["end"], level))


def chosen(grid: dict[float, dict], name: str) -> dict:
    """What the file keeps of a grid."""
    level = best_level(grid)
    return {name: level, "at_edge": level in (min(grid), max(grid)), "grid": {f"{x:g}": cell for x, cell in grid.items()}}


def offline_gates(runs: Runs) -> dict[str, dict]:
    """The two gates on the runs of `bcpg_gates`.

    Raises:
        KeyError: an arm has no runs yet.
    """
    gains = {arm: difference(runs, arm, "base", tail(1)) for arm in ("rft", "bcpg")}
    best = max(gains, key=lambda arm: gains[arm].mean())
    apart = labels_minus_random(runs, "bcpg_nsa rewarded")
    return {
        "moves": {"asks": f"RFT or BCPG brings {GAIN:g} points of held-out pass@1 (mean over seeds)", "by": best,
                  "found": {arm: round(float(np.mean(g)), 2) for arm, g in gains.items()},
                  "passed": bool(gains[best].mean() >= GAIN)},
        "tells tokens apart": {"asks": "oracle-labelled NSA minus random-token NSA, beta -1: the 95 % interval excludes zero",
                               "found": apart, "passed": apart[1] > 0 or apart[2] < 0}}


def labels_minus_random(runs: Runs, arm: str) -> list[float]:
    """Points of pass@1 by the oracle's labels minus those on as many random tokens: mean, and the 95 % interval's ends."""
    found = paired_t(difference(runs, arm, f"{arm} anywhere", tail(1)))
    return [round(float(v), 2) for v in (found.estimate, found.low, found.high)]


def gate_table(record: dict) -> pd.DataFrame:
    """A row per gate of every try, the failed tries first: gate, asks, found, passed; empty before the first."""
    tries = [*record.get("tries", []), *([record] if record.get("gates") else [])]
    return pd.DataFrame([{"try": number, "gate": name} | gate
                         for number, found in enumerate(tries, start=1) for name, gate in found["gates"].items()])


def finished(name: str) -> Runs | None:
    """An experiment's runs at scale tiny with all its seeds; None while one is missing."""
    arms = experiment(name, "all", "tiny", EXPERIMENTS[name].seeds)
    runs = load_finished(arms)
    return runs if len(runs.arms) == len(arms) else None


def begun_again(record: dict) -> dict:
    """A failed try goes among `tries` once its world was changed, so that the gates ask for other runs."""
    if record.get("admitted", True):
        return record
    asked = {arm.config.hash for arm in experiment("bcpg_gates", "all", "tiny", EXPERIMENTS["bcpg_gates"].seeds)}
    if set(record["runs"]) == asked:
        return record
    return {"tries": [*record.get("tries", []), {key: value for key, value in record.items() if key != "tries"}]}


def update(record: dict) -> dict:
    """The record with what finished runs say; what is there already stays, since later runs were made with it."""
    record = {"world": WORLD, **begun_again(record)}
    if "rates" not in record and (runs := finished("bcpg_rates")):
        methods = dict.fromkeys(arm.name.partition("/")[0] for arm in runs.arms)
        record["rates"] = {m: chosen(grid_of(runs, m), "rate") for m in methods}
    elif "rates" in record and "taus" not in record and (runs := finished("bcpg_taus")):
        record["taus"] = {"bcpg": chosen(grid_of(runs, "bcpg"), "tau")}
    elif "taus" in record and "gates" not in record and (runs := finished("bcpg_gates")):
        gates = offline_gates(runs)
        record |= {"gates": gates, "admitted": all(gate["passed"] for gate in gates.values()),
                   "labels minus random tokens at beta 0.5": labels_minus_random(runs, "bcpg_nsa"),
                   "runs": sorted({arm.config.hash for arm in runs.arms}),
                   "asked": [asdict(arm.config)["seed"] for arm in runs.arms if arm.name == "base"]}
    return record


def write_gates() -> dict:
    """Bring data/offline.json one stage further, if its runs are finished."""
    record = update(json.loads(json.dumps(offline_record())))
    write_atomic(OFFLINE_FILE, (strict_json(record, indent=1) + "\n").encode())
    offline_record.cache_clear()
    return record


if __name__ == "__main__":
    found = write_gates()
    print({m: cell["rate"] for m, cell in found.get("rates", {}).items()} or "rates: the runs of bcpg_rates are not finished")
    print({m: cell["tau"] for m, cell in found.get("taus", {}).items()} or "tau: the runs of bcpg_taus are not finished")
    print({n: g["passed"] for n, g in found.get("gates", {}).items()} or "gates: the runs of bcpg_gates are not finished")
