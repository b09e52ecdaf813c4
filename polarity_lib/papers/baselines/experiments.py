"""The protocol of the runs that several papers share."""

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import in_world, swept, unless_smoke, world_rate

# How many answers per test problem: in latent everything is solved by 16 answers, so its tail is read at 8; LENS is about
# k up to 16; in search there is room up to the 256 of the PSR/NSR paper.
TEST_SAMPLES = {"latent": 32, "rare": 32, "search": 256}


def compared(scale: Scale, method: str, seed: int, world: str, **fields) -> RunConfig:
    """A run that a comparison reads: the world's protocol, and a second evaluation at the papers' temperature."""
    samples = unless_smoke(scale, final_samples=TEST_SAMPLES[world]) if world in TEST_SAMPLES else {}
    return in_world(scale, method, seed, world, **({"probes": ("cool",)} | samples | fields))


def one_rate(world: str) -> float:
    """The rate of a world where all arms of a comparison have the same: GRPO's, which no other paper's method chose."""
    return world_rate(world, "grpo")


RATE_FACTORS = (0.25, 1.0, 4.0)  # times the one rate


def over_rates(scale: Scale, seed: int, world: str, methods: tuple[str, ...]) -> dict[str, RunConfig]:
    """`method/rate`: every method over the learning rate; at scale smoke at the one rate alone."""
    rates = [factor * one_rate(world) for factor in swept(scale, RATE_FACTORS)]
    return {f"{method}/{rate:g}": compared(scale, method, seed, world, learning_rate=rate)
            for method in methods for rate in rates}
