"""Two tables of recorded verdicts that come with the project, and what they say about ranking.

    data/verdicts/t1.csv, t06.csv    one base policy (right step-by-step traces, validation seed) at temperature 1.0 and
                                     at 0.6, on the same test problems, 64 runs each

    python -m polarity_lib.papers.dissecting.recorded    writes them again

They are what notebook 23 reads when nobody names a table of their own. Two temperatures stand for two methods.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from polarity_lib.config import StartConfig
from polarity_lib.engines import make_sampler
from polarity_lib.outside import end_in_one_line
from polarity_lib.papers.dissecting.stability import (
    Recorded,
    accuracies,
    of_counts,
    predicted_spread,
    read_verdicts,
    runs_needed,
    write_verdicts,
    wrong_order,
    wrong_order_by_resampling,
)
from polarity_lib.papers.dissecting.starts import WORLD
from polarity_lib.policy import Policy, one_thread
from polarity_lib.pretraining import base_policy
from polarity_lib.problems import world_named
from polarity_lib.results import ROOT, make_folder, published_root
from polarity_lib.verification import verify

FOLDER = ROOT / "data" / "verdicts"
SEED = 1000  # a validation seed
PROBLEMS, RUNS = 60, 64
COUNTS = (1, 2, 4, 8, 16, 32)
TEMPERATURES = {"t1": 1.0, "t06": 0.6}
START = StartConfig("remarks", "tiny", 400, SEED, mixture=(("worked", 0.75), ("checked", 0.25)))
CLOSE = 0.05  # between formula and resampling, as probabilities; ours


def table_of(name: str) -> Path:
    """Where a table is kept."""
    return FOLDER / f"{name}.csv"


def record(policy: Policy, temperature: float, problems: int = PROBLEMS, runs: int = RUNS) -> Recorded:
    """Sample the first test problems `runs` times each; run k takes the k-th answer to every problem."""
    drawn = world_named(WORLD).draw("test", problems, SEED)
    rollouts = make_sampler(policy, temperature=temperature).sample(drawn, runs, f"{SEED}/recorded")
    verdicts = verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist())
    right_QR = np.array([v.is_correct for v in verdicts]).reshape(problems, runs)
    return Recorded([p.prompt.rstrip(":") for p in drawn], [f"run_{k:02d}" for k in range(1, runs + 1)], right_QR)


def write_tables() -> None:
    """Record the policy at both temperatures and write the tables."""
    make_folder(FOLDER)
    policy = base_policy(START)
    with one_thread("cpu"):
        for name, temperature in TEMPERATURES.items():
            write_verdicts(record(policy, temperature), table_of(name))


def published_counts() -> pd.DataFrame:
    """Every published run of any experiment, described by `stability.of_counts`; a run that two experiments share stands once."""
    found = []
    for path in sorted(published_root().glob("*/problems.parquet")):
        rows = of_counts(pd.read_parquet(path))
        found.append(rows.assign(experiment=path.parent.name))
    whole = pd.concat([rows for rows in found if len(rows)], ignore_index=True)
    return whole.drop_duplicates("run").reset_index(drop=True)


def rankings(left: Recorded, right: Recorded, problems: int = 0) -> pd.DataFrame:
    """How often n runs of each rank two methods wrongly: by the formula, and by drawing from the recorded runs.

    Args:
        problems: only the first so many; 0 for all.
    """
    few = slice(0, problems or None)
    rows = []
    for runs in COUNTS:
        rows.append(
            {
                "runs": runs,
                "formula": wrong_order(accuracies(left.right_QR[few]), accuracies(right.right_QR[few]), runs),
                "resampled": wrong_order_by_resampling(left.right_QR[few], right.right_QR[few], runs),
            }
        )
    return pd.DataFrame(rows)


def close_pair(recorded: Recorded, shift: int = 4) -> tuple[Recorded, Recorded]:
    """Two methods that hardly differ, from one table: the second half of its runs, and the first half with `shift` of the
    problems that are uncertain made right in a tenth of its runs more. A known, small difference, from real verdicts."""
    half = recorded.right_QR.shape[1] // 2
    better = recorded.right_QR[:, :half].copy()
    middle = np.argsort(np.abs(accuracies(recorded.right_QR) - 0.5), kind="stable")[:shift]
    better[np.ix_(middle, np.arange(0, half, 10))] = True
    return (
        Recorded(recorded.problems, recorded.runs[:half], better),
        Recorded(recorded.problems, recorded.runs[half:], recorded.right_QR[:, half:]),
    )


def ranking_checks() -> pd.DataFrame:
    """C13, on the recorded tables: the formula against resampled runs, and half of the problems against all of them."""
    rows = []
    for name in TEMPERATURES:
        recorded = read_verdicts(table_of(name))
        found = rankings(*close_pair(recorded))
        error = float((found.formula - found.resampled).abs().max())
        rows.append(
            {
                "subtest": f"{name}: wrong rankings as 1 / sqrt(n) says",
                "theirs": f"0, within {CLOSE:g}",
                "ours": error,
                "tolerance": CLOSE,
                "passed": error < CLOSE,
            }
        )
        p_Q = accuracies(recorded.right_QR)
        needed = [runs_needed(0.02, *[predicted_spread(part, RUNS)] * 2) for part in (p_Q, p_Q[::2])]
        rows.append(
            {
                "subtest": f"{name}: half of the problems need more runs",
                "theirs": "> 1",
                "ours": needed[1] / needed[0],
                "tolerance": 1.0,
                "passed": needed[1] > needed[0],
            }
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    sys.exit(end_in_one_line(write_tables))
