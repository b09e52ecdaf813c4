"""The problem record, the split rule and the world record."""

import hashlib
from dataclasses import dataclass, field
from typing import Callable

# Shares of the hash space, in percent. The split is a property of the problem.
# Three-digit countdown has 1,864 problems: these shares leave 500 for the test and 256 for the pool.
SPLITS = {"pretrain": (0, 48), "train": (48, 63), "validation": (63, 71), "test": (71, 100)}

CONTEXT = 512  # positions that a policy made here has, for a prompt and its answer


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
    start_steps: int = 0  # of its base policies at scale tiny; 0: the scale's own
    protocol: dict = field(default_factory=dict)  # RunConfig fields that all papers' runs in it share at scale tiny


OWN_TESTS = 10  # seeds 0 to 9 have test problems of their own; later seeds use them again


def owner_of(key: str) -> int:
    """Which seed's test problem a canonical form is: 0 to 9, or OWN_TESTS for the validation seeds."""
    return int.from_bytes(hashlib.sha256(f"test/{key}".encode()).digest()[:4], "big") % (OWN_TESTS + 1)


def is_test_of(key: str, seed: int) -> bool:
    """Whether a seed may be tested on a problem of the test split (seeds from 1000 on are validation seeds)."""
    return owner_of(key) == (OWN_TESTS if seed >= 1000 else seed % OWN_TESTS)


def split_of(key: str) -> str:
    """The split a canonical form belongs to."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100
    for name, (low, high) in SPLITS.items():
        if low <= bucket < high:
            return name
    raise AssertionError("the shares of SPLITS cover 0..100")
