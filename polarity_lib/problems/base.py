"""The problem record, the split rule and the world record."""

import hashlib
from dataclasses import dataclass
from typing import Callable

# Shares of the hash space, in percent. The split is a property of the problem.
# Three-digit countdown has 1,864 problems: these shares leave 500 for the test and 256 for the pool.
SPLITS = {"pretrain": (0, 48), "train": (48, 63), "validation": (63, 71), "test": (71, 100)}


@dataclass(frozen=True, slots=True)
class Problem:
    """One question. `key` is its canonical form, equal for permutations of the same problem."""

    world: str
    prompt: str
    gold: str
    key: str
    level: int = 0


@dataclass(frozen=True)
class World:
    """A family of problems.

    `draw(split, count, seed)` returns distinct problems; the same arguments
    always give the same list. `size(split)` is how many there are to draw (for a
    family without end, how many one pass over "fresh" problems holds).
    """

    name: str
    draw: Callable[[str, int, int], list[Problem]]
    size: Callable[[str], int]
    max_new_tokens: int
    corpus: str  # the default text its base policies learn from
    family: str  # which checker judges it


def split_of(key: str) -> str:
    """The split a canonical form belongs to."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100
    for name, (low, high) in SPLITS.items():
        if low <= bucket < high:
            return name
    raise AssertionError("the shares of SPLITS cover 0..100")
