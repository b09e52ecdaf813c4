"""Runs that nobody trained, for tests that read runs; what the papers' tables say."""

import pandas as pd

from polarity_lib.experiments import Runs
from polarity_lib.registry import CLAIMS
from polarity_lib.results import ROOT


def curves(values: dict[str, list[list[float]]], metric="test/pass@1") -> Runs:
    """Runs with one metric: per arm a list per seed, one value per step 0, 10, 20, ..."""
    rows = [{"experiment": "psr_nsr_search", "arm": arm, "seed": s, "run": f"{arm}{s}", "scale": "tiny", "step": 10 * t,
             "metric": metric, "value": v}
            for arm, seeds in values.items() for s, curve in enumerate(seeds) for t, v in enumerate(curve)]
    return Runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), arms=[])


def by_hand(final: dict[str, list[float]]) -> Runs:
    """One metric, test/pass@1, at one step; a value per seed."""
    return curves({arm: [[v] for v in values] for arm, values in final.items()})


def check_quoted(claim: str, subtest: str, table: str, left: str, right: str, columns: list[str]) -> None:
    """What a sub-test quotes is the difference of two rows of one of its paper's tables (data/papers.csv)."""
    cells = pd.read_csv(ROOT / "data" / "papers.csv")
    cells = cells[(cells.paper == CLAIMS[claim].paper) & (cells.table == table)].set_index(["row", "column"]).value
    quoted = next(test.theirs for test in CLAIMS[claim].tests() if test.name == subtest)
    digits = len(quoted.split()[0].partition(".")[2])
    assert [float(word) for word in quoted.split()] == [round(cells[left, c] - cells[right, c], digits) for c in columns]
