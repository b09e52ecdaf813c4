"""What a batch shows of the two ways of working, and what a method's update gives to each.

An answer is *worked* if it shows a line of work (3+5=8), else *direct*. Which way an answer goes is decided by its first token,
so what an update does to a way is told by the weights of first tokens (`mechanism.loss_weights`), added up over the batch.
"""

from torch import Tensor

from polarity_lib.diagnostics import shows_work
from polarity_lib.rollouts import Rollouts

CELLS = tuple((way, verdict) for way in ("worked", "direct") for verdict in ("right", "wrong"))


def ways(rollouts: Rollouts, weights_NT: Tensor) -> dict[str, float]:
    """`ways/worked`, `ways/worked_right`: shares of the batch; `ways/drawn`: answers sampled for it.

    `ways/weight_<way>_<verdict>`: the sum of the first tokens' weights over those answers; above zero makes the way likelier.
    """
    worked_N = shows_work(rollouts)
    right_N = rollouts.correct_N
    found = {"ways/worked": float(worked_N.float().mean()), "ways/worked_right": float((worked_N & right_N).float().mean()),
             "ways/drawn": float(rollouts.drawn)}
    for way, verdict in CELLS:
        rows = (worked_N == (way == "worked")) & (right_N == (verdict == "right"))
        found[f"ways/weight_{way}_{verdict}"] = float((weights_NT[:, 0] * rows).sum())  # NaN where weights are not known
    return found


WATCHES = {"ways": ways}
