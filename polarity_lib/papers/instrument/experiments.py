"""The runs that admit a world: base and GRPO alone, on validation seeds; notebook 04."""

import functools
from dataclasses import replace

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


RARITIES = (0.005, 0.015, 0.05, 0.15)  # the share of worked texts in the base's last phase; latent itself has 0.05


def dial(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Base and GRPO in latent, from bases that work their answers out ever more seldom."""
    arms = {}
    for r in RARITIES:
        for name, fields in (("base", {"steps": 0}), ("grpo", {})):
            run = in_world(scale, name, FIRST + seed, "latent", **fields)
            mixture = () if r == 0.05 else (("direct", 1 - r), ("worked", r))
            arms[f"{r:g}/{name}"] = run.but(start=replace(run.start, mixture=mixture))
    return arms


EXPERIMENTS = {
    f"gates_{world}": Experiment(functools.partial(gates, world), SEEDS, "04", preview=False) for world in CANDIDATES
} | {"dial": Experiment(dial, 2, "04", preview=False)}
