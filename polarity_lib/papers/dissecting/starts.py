"""Base policies by corpus: where reinforcement learning begins.

    cold    *cold start*: right step-by-step traces only, some of them re-checked; what remains wrong is the fault of
            a short warm start
    zero    *zero-RL*: a broad and noisy corpus of mixed formats: answers at once, an unreliable writer, work whose
            answer is not marked, a few right traces
    cold_short  the pair of equal accuracy: cold's corpus, stopped where it is as accurate as zero

All three read prompts of which three in ten hold a remark in brackets (corpus `remarks_often`), so that the tokens of the
attacks are known. Sources are described in `polarity_lib.pretraining`. Which base model the paper's zero-RL part
uses, and its prompt, are unverified.
"""

from dataclasses import dataclass, replace

from polarity_lib.config import RunConfig, Scale, choose
from polarity_lib.experiments import in_world, unless_smoke

WORLD = "latent"
CORPUS = "remarks_often"
BATCHES = 60  # of a run: nearly all that GRPO gains in latent falls in the first 30


@dataclass(frozen=True)
class Start:
    """A mixture of sources and how long it is read, at scale tiny."""

    mixture: tuple[tuple[str, float], ...]
    steps: int
    batch: int = 96  # texts per step


COLD = (("worked", 0.75), ("checked", 0.25))
ZERO = (("direct", 0.35), ("noisy", 0.25), ("unmarked", 0.25), ("worked", 0.1), ("checked", 0.05))
STARTS = {"cold": Start(COLD, 300), "zero": Start(ZERO, 400), "cold_short": Start(COLD, 220)}


def from_start(scale: Scale, name: str, method: str, seed: int, size: str = "", **fields) -> RunConfig:
    """A run by the world's protocol but for its length, at the method's own rate there unless one is given."""
    start = STARTS[choose("start", name, STARTS)]
    fields = unless_smoke(scale, steps=BATCHES, curve_every=10) | fields
    config = in_world(scale, method, seed, WORLD, corpus=CORPUS, **fields)
    steps = unless_smoke(scale, steps=start.steps, batch=start.batch)
    return config.but(start=replace(config.start, mixture=start.mixture, **steps, **({"size": size} if size else {})))
