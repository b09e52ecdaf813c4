"""The runs that admit a world: base and GRPO alone, on validation seeds; notebook 04."""

import functools

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import Experiment, in_world

CANDIDATES = ("latent", "mix", "strong", "search", "rare")
FIRST = 1000  # validation seeds: no reported comparison of methods uses them
SEEDS = 4  # what the known handicap must be seen with


def gates(world: str, scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Base, GRPO, GRPO with a quarter of its verdicts tossed, GRPO's twin: the same start and problems, other luck."""
    grpo = in_world(scale, "grpo", FIRST + seed, world)
    return {
        "base": in_world(scale, "base", FIRST + seed, world, steps=0),
        "grpo": grpo,
        "grpo_quarter_tossed": grpo.but(verdicts="quarter_tossed"),
        "grpo_twin": grpo.but(stream=1),
    }


EXPERIMENTS = {
    f"gates_{world}": Experiment(functools.partial(gates, world), SEEDS, "04", preview=False) for world in CANDIDATES
}
