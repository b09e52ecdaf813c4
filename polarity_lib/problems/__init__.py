"""Problem families: what is asked, and which split it belongs to.

A *world* is a family with exact verification. Splits are decided by a hash
of the problem's canonical form, so permutations of one problem never sit on
both sides:

    pretrain    text for the base policy
    train       the pool that RL draws from
    validation  tuning and checkpoint choice
    test        every number that is reported

Names: `latent`, `rare`, `mix`, `strong` (chains) and `search` (countdown), which
notebook 04 puts through gates; `countdown3`, `countdown4`, `chain`, and
out-of-distribution or attacked variants. `world_named` looks one up. Real mathematics
is in worlds of its own (`real`), for language models; `any_world` knows those too.
"""

from polarity_lib.config import choose
from polarity_lib.problems.base import SPLITS, Problem, World, split_of
from polarity_lib.problems.chain import CHAIN_WORLDS
from polarity_lib.problems.countdown import COUNTDOWN_WORLDS
from polarity_lib.problems.real import REAL_WORLDS

WORLDS: dict[str, World] = {**COUNTDOWN_WORLDS, **CHAIN_WORLDS}


def world_named(name: str) -> World:
    """Look a world up; raises ConfigError with the near misses."""
    return WORLDS[choose("world", name, WORLDS)]


def any_world(name: str) -> World:
    """The same with worlds of real mathematics among them."""
    return REAL_WORLDS[name] if name in REAL_WORLDS else WORLDS[choose("world", name, [*WORLDS, *REAL_WORLDS])]


__all__ = ["Problem", "World", "WORLDS", "REAL_WORLDS", "SPLITS", "any_world", "split_of", "world_named"]
