"""A second look at a finished run: sampled as the papers evaluate.

A probe is a function (policy, config) -> metrics. It samples with labels of its own, so a run with and
without it ends with the same policy.
"""

from polarity_lib.config import RunConfig
from polarity_lib.evaluation import evaluate
from polarity_lib.policy import Policy
from polarity_lib.problems import any_world

COOL = {"temperature": 0.6, "top_p": 0.95}  # of PSR/NSR's evaluation (its card, section 4)
MOST_SAMPLES = 64  # per problem


def cool(policy: Policy, config: RunConfig) -> dict[str, float]:
    """The test set at temperature 0.6 and top-p 0.95, as `cool/...`: pass@k up to MOST_SAMPLES, entropy, length.

    The entropy is that of the distribution before the nucleus is cut, at temperature 0.6.
    """
    problems = any_world(config.world).draw("test", config.final_problems, config.seed)
    metrics, _ = evaluate(policy, problems, min(MOST_SAMPLES, config.final_samples), f"{config.seed}/cool", **COOL)
    wanted = ("pass@", "entropy", "length", "distinct")
    return {f"cool/{name}": value for name, value in metrics.items() if name.startswith(wanted)}


PROBES = {"cool": cool}
