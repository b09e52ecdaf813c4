"""How rare the rare way is before training, how often it is right, and how often the common one is."""

import math


from polarity_lib.config import RunConfig
from polarity_lib.diagnostics import shows_work
from polarity_lib.evaluation import sample_test
from polarity_lib.policy import Policy

TIMES = 16  # as many answers as a run's own evaluation draws: at one worked answer in 200 there are still dozens


def ways(policy: Policy, config: RunConfig) -> dict[str, float]:
    """`before/worked`: share of worked answers; `before/right_if_worked`, `before/right_if_direct`; tokens of each way.

    NaN where there is no such answer.
    """
    rollouts = sample_test(policy, config, "ways", times=TIMES)
    worked_N = shows_work(rollouts)
    length_N = rollouts.mask_NT.sum(1)
    found = {"before/worked": float(worked_N.float().mean())}
    for way, rows in (("worked", worked_N), ("direct", ~worked_N)):
        found[f"before/right_if_{way}"] = float(rollouts.correct_N[rows].float().mean()) if rows.any() else math.nan
        found[f"before/{way}_length"] = float(length_N[rows].mean()) if rows.any() else math.nan
    return found


PROBES = {"ways": ways}
