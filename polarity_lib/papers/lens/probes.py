"""What LENS would hardly touch, measured on a finished run."""

from polarity_lib.config import RunConfig
from polarity_lib.evaluation import sample_test
from polarity_lib.papers.lens.methods import confidence, difficulty, theory_odds
from polarity_lib.policy import Policy


def sparse(policy: Policy, config: RunConfig) -> dict[str, float]:
    """How many wrong answers LENS would hardly touch: share with odds under 0.01 (LENS-C11).

    sparse/raw, sparse/normalised    with the raw or the length-normalised probability of an answer
    """
    rollouts = sample_test(policy, config, "sparse", samples=16)
    rights_N, found = rollouts.correct_N.double(), {}
    for name, normalise in (("raw", False), ("normalised", True)):
        logs_N = confidence(rollouts.logprobs_NT, rollouts.mask_NT, normalise)
        hard_N = difficulty(logs_N, rights_N, rollouts.group_N)
        odds_N = theory_odds(logs_N.double(), hard_N)[rights_N == 0]
        found[f"sparse/{name}"] = float((odds_N < 0.01).float().mean()) if len(odds_N) else float("nan")
    return found


PROBES = {"sparse": sparse}
