"""The protocol of the runs that several papers share."""

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import in_world, unless_smoke

# How many answers per test problem: in latent everything is solved by 16 answers, so its tail is read at 8; LENS is about
# k up to 16; in search there is room up to the 256 of the PSR/NSR paper.
TEST_SAMPLES = {"latent": 32, "rare": 32, "search": 256}


def compared(scale: Scale, method: str, seed: int, world: str, **fields) -> RunConfig:
    """A run that a comparison reads: the world's protocol, and a second evaluation at the papers' temperature."""
    samples = unless_smoke(scale, final_samples=TEST_SAMPLES[world]) if world in TEST_SAMPLES else {}
    return in_world(scale, method, seed, world, **({"probes": ("cool",)} | samples | fields))
