"""How far two machines lie apart: the same configurations, computed on another kind of processor.

    python -m polarity_lib.papers.instrument.machines    compares runs in data/runs with the committed ones: data/machines.csv

A product of matrices is rounded a little differently on another processor. Sooner or later a sampled token flips, and from
there the two runs see different answers. So bit-identity holds on one type of machine only, and between two types
a run differs as from a twin: by luck. How much that is, base policy and all, is what this table says.
"""

import pandas as pd

from polarity_lib.experiments import experiment, kept_run
from polarity_lib.results import ROOT, RunFolder, load_published, published_root, read_lines, write_atomic

FILE = ROOT / "data" / "machines.csv"
EXPERIMENT, ARMS, SEEDS = "psr_nsr_latent", ("base", "grpo", "psr", "nsr"), 4
METRICS = ("test/pass@1", "test/pass@8", "test/length")
COLUMNS = ["arm", "seed", "run", "metric", "committed", "again", "machine_committed", "machine_again",
           "base_committed", "base_again"]


def compare_machines(scale: str = "tiny") -> pd.DataFrame:
    """The committed value and the one computed here of every run that is there twice, from two types of machine."""
    lines = read_lines(published_root() / EXPERIMENT / "runs.csv").set_index("run")
    published = load_published(EXPERIMENT, "metrics")
    rows = []
    for arm in experiment(EXPERIMENT, ",".join(ARMS), scale, SEEDS):
        run, here = arm.config.hash, kept_run(arm.config)
        if here is None or run not in lines.index:
            continue
        was, now = lines.loc[run], RunFolder(arm.config.name, arm.config.identity).record()
        if was.machine == now["machine"]:
            continue
        ends, ends_here = at_the_end(published[published.run == run]), at_the_end(here["metrics"])
        rows += [[arm.name, arm.seed, run, metric, ends[metric], ends_here[metric], was.machine, now["machine"],
                  was.base_weights, now["base_weights"]] for metric in METRICS]
    return pd.DataFrame(rows, columns=COLUMNS)


def at_the_end(metrics: pd.DataFrame) -> pd.Series:
    """The last value of every metric of one run."""
    return metrics.sort_values("step").groupby("metric").value.last()


def committed_machines() -> pd.DataFrame:
    """data/machines.csv; no rows before it was measured."""
    return pd.read_csv(FILE) if FILE.exists() else pd.DataFrame(columns=COLUMNS)


def apart(table: pd.DataFrame, metric: str = "test/pass@1") -> dict[str, pd.Series]:
    """What was computed again minus what is committed, in points, by seed: each arm's own value, and its contrast with GRPO.

    The contrast is what a claim reads. That of an arm with GRPO on one machine is subtracted from the same on the other.
    """
    rows = table[table.metric == metric]
    change = 100 * (rows.again - rows.committed)
    by_arm = {arm: change[rows.arm == arm].set_axis(rows.seed[rows.arm == arm]) for arm in ARMS if arm in set(rows.arm)}
    contrasts = {f"{arm} minus grpo": by_arm[arm] - by_arm["grpo"] for arm in ("psr", "nsr") if {arm, "grpo"} <= set(by_arm)}
    return by_arm | contrasts


if __name__ == "__main__":
    found = compare_machines()
    if len(found):
        write_atomic(FILE, found.to_csv(index=False).encode())
    print(f"{found.run.nunique()} runs compared" if len(found) else
          f"No run of {EXPERIMENT} ended here that is committed from another type of machine: "
          f"python -m polarity_lib run {EXPERIMENT} --seeds {SEEDS} --fresh")
