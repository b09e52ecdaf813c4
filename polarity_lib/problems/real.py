"""Worlds of real mathematics: the papers' problem sets behind the interface that the tiny worlds have.

A world names what is trained on and those that are tested on. The texts are read when somebody first draws from it
(`sets` says where they lie and how to fetch them). Validation problems are one in fifteen of the training set, by the hash of
their text; nobody trains on them, so a training set is smaller here by as much.
"""

import functools
import hashlib
from dataclasses import replace

import numpy as np

from polarity_lib.config import ConfigError, choose, derive_seed
from polarity_lib.problems.base import Problem, World

FAMILY = "mathematics"
ONE_IN = 15  # of the training set is kept for validation
# world: the set or sets trained on, the sets tested on
SETS = {
    "math": ("math_train", ("math500", "aime25", "amc23")),
    "math_sample": ("math_train_sample", ("math500",)),  # two thousand problems that lie beside the tests
    "math_dapo": (("math_train", "dapo_math_17k"), ("math500",)),
    "dapo_math": ("dapo_math_17k", ("aime24", "aime25", "math500")),
    "deepscaler": ("deepscaler", ("aime24", "aime25", "math500", "amc23", "minerva_math", "olympiad_bench")),
}


def _is_validation(problem: Problem) -> bool:
    return int.from_bytes(hashlib.sha256(problem.key.encode()).digest()[:4], "big") % ONE_IN == 0


@functools.cache
def _problems(world: str, split: str) -> tuple[Problem, ...]:
    """Every problem of a split, each once, in the order of its file."""
    from polarity_lib.problems.sets import load_problem_set  # not above: `python -m polarity_lib.problems.sets` is a command too

    train, tests = SETS[world]
    choose("split", split, ("train", "validation", "test"))
    train = (train,) if isinstance(train, str) else train
    found = [problem for name in (tests if split == "test" else train) for problem in load_problem_set(name)]
    if split != "test":
        tested = {problem.prompt for name in tests for problem in load_problem_set(name)}
        found = [p for p in found if p.prompt not in tested and _is_validation(p) == (split == "validation")]
    return tuple({p.key: replace(p, world=world) for p in found}.values())


def _draw(world: str, split: str, count: int, seed: int) -> list[Problem]:
    problems = _problems(world, split)
    if count > len(problems):
        raise ConfigError(f"{world} has {len(problems)} {split} problems, not {count}.")
    order = np.random.default_rng(derive_seed("real", world, split, seed)).permutation(len(problems))
    return [problems[i] for i in order[:count]]


REAL_WORLDS = {
    name: World(name, functools.partial(_draw, name), functools.partial(lambda world, split: len(_problems(world, split)), name),
                max_new_tokens=3072, corpus="", family=FAMILY)
    for name in SETS
}
