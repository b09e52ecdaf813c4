"""The gates: what a world must show, with base and GRPO alone, before it may judge methods.

    python -m polarity_lib.papers.instrument.gates    writes data/worlds.json from the committed runs

The rules were written before any of these runs was looked at. A world that fails stays in the file; when a
world is changed and measured again, the earlier measurement moves to its `tries`.
"""

import json
import math
import re
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from polarity_lib.config import SCALES, choose
from polarity_lib.experiments import Runs, experiment, in_world, load_finished
from polarity_lib.papers.instrument.experiments import CANDIDATES, FIRST, SEEDS
from polarity_lib.outside import strict_json
from polarity_lib.problems import Problem, world_named
from polarity_lib.problems.base import OWN_TESTS
from polarity_lib.results import ROOT, published_root, read_lines, write_atomic
from polarity_lib.statistics import paired_t

WORLDS_FILE = ROOT / "data" / "worlds.json"
REPLICATES = 3  # of the seeds, for every gate but the two controls, which take all
GAIN, RATIO, WEAK = 0.08, 1.8, 0.12  # points that GRPO must bring; or times its base, where that is below WEAK
LOWEST, HIGHEST, TAIL = 0.08, 0.5, (0.5, 0.9)
CLIPPED = 0.001
TOKENS = 20
MINUTES = 6


@dataclass(frozen=True)
class Gate:
    """One gate: what is asked, what was found (a number or a few), and whether it is passed."""

    asks: str
    found: float | list[float]
    passed: bool


def gates(runs: Runs, seconds: dict[int, float]) -> dict[str, Gate]:
    """Every gate of a world.

    Args:
        runs: the arms base, grpo, grpo_quarter_tossed and grpo_twin of a `gates_*` experiment.
        seconds: of training of each GRPO run, by seed.

    Raises:
        KeyError: an arm has no runs yet.
    """
    ends = {metric: runs.metric(metric) for metric in ("test/pass@1", "pool/pass@1")}
    accuracy = ends["test/pass@1"]
    first = accuracy.index[:REPLICATES]
    base, grpo = accuracy["base"][first], accuracy["grpo"][first]
    gain = grpo - base
    wanted = np.where(base < WEAK, (RATIO - 1) * base, GAIN)
    gap = ends["pool/pass@1"]["grpo"][first] - grpo
    late = late_share(runs, first)
    clipped = _mean_over_training(runs, "update/clip_share", first)
    handicap = paired_t(accuracy["grpo_quarter_tossed"] - accuracy["grpo"])
    twin = paired_t(accuracy["grpo_twin"] - accuracy["grpo"])
    tails = base_tail(runs, first)
    return {
        "moves": Gate(f"GRPO brings {GAIN:.2f} in every replicate (a base below {WEAK}: {RATIO} times it)", _list(gain),
                      bool(((gain >= wanted) & (gain > 0)).all())),
        "generalises": Gate("reward on the pool minus held-out accuracy, below half of that gain", _list(gap),
                            bool((gap < 0.5 * gain).all())),
        "room at 1": Gate(f"base pass@1 between {LOWEST} and {HIGHEST}", _list(base), bool(base.between(LOWEST, HIGHEST).all())),
        "room in the tail": Gate(f"base pass@k between {TAIL[0]} and {TAIL[1]} for some k up to 64",
                                 [round(v, 4) for v in tails.values()], any(TAIL[0] <= v <= TAIL[1] for v in tails.values())),
        "settles": Gate("the last quarter of the horizon brings less than a fifth of the gain", _number(late), late < 0.2),
        "clips": Gate(f"share of tokens clipped, at least {CLIPPED}", _number(clipped), clipped >= CLIPPED),
        "sees a handicap": Gate("a quarter of the verdicts tossed: the 95 % interval lies below zero",
                                _list((handicap.estimate, handicap.low, handicap.high)), handicap.high < 0),
        "is not fooled by luck": Gate("GRPO's twin: the 95 % interval holds zero",
                                      _list((twin.estimate, twin.low, twin.high)), twin.low <= 0 <= twin.high),
        "is affordable": Gate(f"minutes of one core, at most {MINUTES}", _number(max(seconds.values()) / 60),
                              max(seconds.values()) <= 60 * MINUTES),
    }


def late_share(runs: Runs, seeds) -> float:
    """The gain of the last quarter of the horizon as a share of the whole, on the curve's own problems; NaN without a gain."""
    rows = runs.metrics.query("metric == 'validation/pass@1' and arm == 'grpo'")
    curve = rows[rows.seed.isin(seeds)].groupby("step").value.mean()
    start, end = curve.iloc[0], curve.iloc[-1]
    before = np.interp(0.75 * curve.index[-1], curve.index, curve.to_numpy())
    return float((end - before) / (end - start)) if end > start else math.nan


def base_tail(runs: Runs, seeds) -> dict[int, float]:
    """The base's pass@k by k, mean over seeds."""
    rows = runs.metrics[(runs.metrics.arm == "base") & runs.metrics.seed.isin(seeds)]
    means = rows[rows.metric.str.fullmatch(r"test/pass@\d+")].groupby("metric").value.mean()
    by_k = {int(name.partition("@")[2]): float(value) for name, value in means.items()}
    return {k: by_k[k] for k in sorted(by_k) if k <= 64}


def all_wrong(runs: Runs, size: int, seeds) -> dict:
    """For information, no gate: the share of groups of `size` that are all wrong, 1 - pass@size on the test set, by replicate."""
    shares = 1 - runs.metric(f"test/pass@{size}")
    return {"size": size, "at the start": _list(shares["base"][seeds]), "under GRPO at the end": _list(shares["grpo"][seeds])}


def training_seconds(runs: Runs, name: str) -> dict[int, float]:
    """Seconds of each GRPO run by seed: the committed line where there is one, else the run's own clock."""
    timed = runs.metrics.query("metric == 'timing.run' and arm == 'grpo'")
    lines = read_lines(published_root() / name / "runs.csv")
    lines = lines[lines.run.isin(runs.metrics.run[runs.metrics.arm == "grpo"])]
    committed = dict(zip(lines.seed, lines.seconds)) if len(lines) else {}
    return dict(zip(timed.seed, timed.value)) | committed


def takes_token_methods(runs: Runs) -> bool:
    """Whether GRPO's answers are long enough (20 tokens) for methods that weigh tokens."""
    return bool(runs.metric("test/length")["grpo"].mean() >= TOKENS)


def _mean_over_training(runs: Runs, metric: str, seeds) -> float:
    rows = runs.metrics[(runs.metrics.metric == metric) & (runs.metrics.arm == "grpo") & runs.metrics.seed.isin(seeds)]
    return float(rows.value.mean()) if len(rows) else math.nan


def _number(value: float) -> float:
    return round(float(value), 4)


def _list(values) -> list[float]:
    return [_number(v) for v in values]


# --- overlap ------------------------------------------------------------------------


def operands(problem: Problem) -> tuple[int, ...]:
    """The numbers of a question without their signs and order; for countdown its digits, without the target."""
    question = problem.prompt.partition(">")[0]
    found = question if problem.key.startswith("countdown") else re.findall(r"\d+", question)
    return tuple(sorted(map(int, found)))


def overlap(world: str) -> dict[str, float]:
    """Shares of a seed's 300 test problems that the pool holds too, and that another seed is tested on.

    `same problem` counts permutations as the same; `same operands` also other signs and targets. Means over four seeds.
    """
    place = world_named(world)
    seeds = range(4)
    tests = {seed: place.draw("test", place.protocol["final_problems"], seed) for seed in seeds}
    pools = {seed: place.draw("train", place.protocol["pool_size"], seed) for seed in seeds}
    others = {seed: {p.key for s in seeds if s != seed for p in tests[s]} for seed in seeds}

    def share(of, among) -> float:
        return round(float(np.mean([np.mean([of(p) in among[seed] for p in tests[seed]]) for seed in seeds])), 4)

    return {
        "same problem": share(lambda p: p.key, {s: {p.key for p in pools[s]} for s in seeds}),
        "same operands": share(operands, {s: {operands(p) for p in pools[s]} for s in seeds}),
        "another seed's test": share(lambda p: p.key, others),
        "seeds with tests of their own": OWN_TESTS,
    }


# --- the file -----------------------------------------------------------------------


def world_record(world: str) -> dict | None:
    """What data/worlds.json says about a candidate, from its committed runs; None while runs are missing."""
    name = f"gates_{choose('candidate world', world, CANDIDATES)}"
    runs = load_finished(experiment(name, "all", "tiny", SEEDS))
    if len(runs.arms) < 4 * SEEDS:
        return None
    found = gates(runs, training_seconds(runs, name))
    return {
        "admitted": all(gate.passed for gate in found.values()),
        "token_methods": takes_token_methods(runs),
        "all_wrong": all_wrong(runs, group_size(world), runs.metric("test/pass@1").index[:REPLICATES]),
        "seeds": [FIRST + s for s in range(SEEDS)],
        "runs": sorted({arm.config.hash for arm in runs.arms}),
        "gates": {name: asdict(gate) for name, gate in found.items()},
        "overlap": overlap(world),
        "tries": [],
    }


def group_size(world: str) -> int:
    """Answers per problem in a world's protocol."""
    return in_world(SCALES["tiny"], "base", FIRST, world, steps=0).rollouts_per_prompt


def with_tries(old: dict | None, new: dict) -> dict:
    """A new measurement, the old one among its tries if it was of other runs."""
    if old is None or old["runs"] == new["runs"]:
        return new | {"tries": old["tries"] if old else []}
    return new | {"tries": [*old["tries"], {key: old[key] for key in ("admitted", "runs", "gates")}]}


def committed_worlds() -> dict:
    """data/worlds.json."""
    return json.loads(WORLDS_FILE.read_text(encoding="utf-8")) if WORLDS_FILE.exists() else {}


def admitted() -> list[str]:
    """Worlds that may judge methods."""
    return [name for name, record in committed_worlds().items() if record["admitted"]]


def world_tries() -> pd.DataFrame:
    """Earlier measurements of worlds that were changed and measured again: which gates they failed."""
    rows = [{"world": name, "number": number, "failed": ", ".join(g for g, found in old["gates"].items() if not found["passed"]),
             "gain": old["gates"]["moves"]["found"]}
            for name, record in committed_worlds().items() for number, old in enumerate(record["tries"], start=1)]
    return pd.DataFrame(rows, columns=["world", "number", "failed", "gain"])


def write_worlds() -> dict:
    """Bring data/worlds.json up to date with the committed runs; worlds without runs keep their line."""
    known = committed_worlds()
    measured = {world: record for world in CANDIDATES if (record := world_record(world))}
    for world, record in measured.items():
        known[world] = with_tries(known.get(world), record)
    write_atomic(WORLDS_FILE, (strict_json(known, indent=1) + "\n").encode())
    return known


if __name__ == "__main__":
    for name, record in write_worlds().items():
        failed = [gate for gate, found in record["gates"].items() if not found["passed"]]
        print(f"{name}: {'admitted' if record['admitted'] else 'not admitted: ' + ', '.join(failed)}")
