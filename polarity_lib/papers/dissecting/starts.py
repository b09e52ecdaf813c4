"""Base policies by corpus: where reinforcement learning begins.

    cold    *cold start*: every text is right and marks its answer; most show their work, many of those re-check each step
    zero    *zero-RL*: a broad and noisy corpus of mixed formats: answers at once, an unreliable writer, work whose
            answer is not marked, a few right traces
    cold_short  the pair of equal accuracy: cold's sources, most answers short: work is shown so seldom that it is
                about as accurate as zero
    thorough    cold's sources, but whoever shows work nearly always re-checks it: answers have something to leave out

Before that all of them learn to work a problem out, so that there is something to select: a base with one way of working
moves little under GRPO (data/pilots.csv). What they work out wrongly is the fault of limited training.
All read prompts of which three in ten hold a remark in brackets, so that the tokens of the
attacks are known. Sources are described in `polarity_lib.pretraining`. Which base model the paper's zero-RL part
uses, and its prompt, are unverified.
"""

from dataclasses import dataclass, replace

from polarity_lib.config import RunConfig, Scale, choose
from polarity_lib.experiments import in_world, unless_smoke

WORLD = "latent"
CORPUS = "remarks_learned"
BATCHES = 60  # of a run: nearly all that GRPO gains in latent falls in the first 30


@dataclass(frozen=True)
class Start:
    """The mixture of sources of the last phase, and how long all is read, at scale tiny."""

    mixture: tuple[tuple[str, float], ...]
    steps: int = 700
    batch: int = 128  # texts per step


COLD = (("direct", 0.4), ("checked", 0.35), ("worked", 0.25))
SHORT = (("direct", 0.65), ("checked", 0.2), ("worked", 0.15))
ZERO = (("direct", 0.4), ("noisy", 0.22), ("unmarked", 0.3), ("worked", 0.05), ("checked", 0.03))
THOROUGH = (("direct", 0.4), ("checked", 0.55), ("worked", 0.05))
STARTS = {"cold": Start(COLD), "zero": Start(ZERO), "cold_short": Start(SHORT), "thorough": Start(THOROUGH)}


def from_start(scale: Scale, name: str, method: str, seed: int, size: str = "", **fields) -> RunConfig:
    """A run by the world's protocol but for its length, at the method's own rate there unless one is given."""
    start = STARTS[choose("start", name, STARTS)]
    fields = unless_smoke(scale, steps=BATCHES, curve_every=10) | fields
    config = in_world(scale, method, seed, WORLD, corpus=CORPUS, **fields)
    steps = unless_smoke(scale, steps=start.steps, batch=start.batch)
    return config.but(start=replace(config.start, mixture=start.mixture, **steps, **({"size": size} if size else {})))
