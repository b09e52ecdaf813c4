"""Every claim of every paper, and the call that judges one.

    judge("PSRNSR-C1", runs)        runs: of its experiment, or a dict {experiment: runs}

What a verdict means is in `rules.py`; the claims are in one module per paper.
"""

import pandas as pd

from polarity_lib.claims_a3po import CLAIMS as A3PO
from polarity_lib.claims_lens import CLAIMS as LENS
from polarity_lib.claims_psr_nsr import CLAIMS as PSR_NSR
from polarity_lib.config import choose
from polarity_lib.experiments import Runs
from polarity_lib.rules import COLUMNS, Claim, Finding, Subtest, absent, roll_up

PAPERS: dict[str, list[str]] = {
    "PSR/NSR (arXiv 2506.01347)": [claim.name for claim in PSR_NSR],
    "A3PO (arXiv 2512.21625)": [claim.name for claim in A3PO],
    "LENS (arXiv 2510.08696)": [claim.name for claim in LENS],
}  # with the claims of ours about the same runs
CLAIMS: dict[str, Claim] = {claim.name: claim for claim in (*PSR_NSR, *A3PO, *LENS)}


def judge(name: str, runs: Runs | dict[str, Runs] | None = None) -> pd.DataFrame:
    """One claim: a row per sub-test, then the roll-up row with an empty `subtest`.

    Args:
        runs: of the claim's experiment, or those of several by name. None, or runs
            without the arms and metrics a sub-test needs, gives "not run at this scale".

    Raises:
        ConfigError: unknown claim, with the near misses.
    """
    claim = CLAIMS[choose("claim", name, CLAIMS)]
    runs = runs if isinstance(runs, dict) else {claim.experiment: runs} if runs is not None else {}
    rows = []
    for test in claim.tests():
        mine = runs.get(test.experiment or claim.experiment)
        found = find(claim, test, mine)
        i = found.interval
        rows.append(_row(claim, scale_of(claim, mine)) | {
            "subtest": test.name, "world": test.world or claim.world, "metric": test.metric, "theirs": test.theirs,
            "ours": i.estimate, "low": i.low, "high": i.high, "seeds": i.n,
            "smallest_detectable": i.smallest_detectable, "verdict": found.verdict, "reason": found.reason})
    verdict, reason = roll_up([row["verdict"] for row in rows], claim.needed)
    scales = [row["scale"] for row in rows if row["scale"]]
    rows.append(_row(claim, scales[0] if scales else "") | {
        "theirs": claim.says, "seeds": max((row["seeds"] for row in rows), default=0), "verdict": verdict, "reason": reason})
    return pd.DataFrame(rows, columns=COLUMNS)


def find(claim: Claim, test: Subtest, runs: Runs | None) -> Finding:
    """What a sub-test finds, or why it cannot be run."""
    if claim.experiment and (runs is None or not len(runs.metrics)):
        return absent("no runs")
    try:
        return test.find(runs)
    except KeyError:  # an arm was left out, or this scale draws fewer than k samples
        return absent(f"the runs at hand hold no {test.metric} for every arm it compares")


def scale_of(claim: Claim, runs: Runs | None) -> str:
    """The scale of the runs; "any" for a claim that needs none."""
    if runs is not None and len(runs.metrics):
        return runs.metrics.scale.iloc[0]
    return "" if claim.experiment else "any"


def _row(claim: Claim, scale: str) -> dict:
    return {"claim": claim.name, "subtest": "", "paper": claim.paper, "world": claim.world, "scale": scale,
            "notebook": claim.notebook, "figure": claim.figure}
