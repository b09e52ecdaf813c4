"""Countdown: reach a target with each digit used exactly once.

Prompt `2579>24:`, an answer is `5*7-9-2`. Many answers
are right, so the family is made for pass@k. Three digits give a strong
start, four a weak one.
"""

import functools
import itertools

import numpy as np

from polarity_lib.config import ConfigError, choose, derive_seed
from polarity_lib.problems.base import SPLITS, Problem, World, is_test_of, split_of

OPERATORS = "+-*"
MAX_TARGET = 99

# Binary trees over operands 0..n-1, as nested pairs.
SHAPES = {
    3: [((0, 1), 2), (0, (1, 2))],
    4: [(((0, 1), 2), 3), ((0, (1, 2)), 3), ((0, 1), (2, 3)), (0, ((1, 2), 3)), (0, (1, (2, 3)))],
}


@functools.lru_cache(maxsize=None)
def _table(digits: int):
    """Every (ordered digits, operators, shape) and the value it evaluates to."""
    operands = np.array(list(itertools.product(range(1, 10), repeat=digits)), dtype=np.int32)
    operators = np.array(list(itertools.product(range(3), repeat=digits - 1)), dtype=np.int8)
    values = np.stack([_values(shape, operands, operators) for shape in SHAPES[digits]], axis=-1)
    return operands, operators, values  # values: [operands, operators, shapes]


def _values(shape, operands, operators):
    """Evaluate one tree for every operand row (axis 0) and operator row (axis 1)."""
    next_operator = iter(range(operators.shape[1]))

    def walk(node):
        if isinstance(node, int):
            return operands[:, None, node]
        left = walk(node[0])
        which = operators[None, :, next(next_operator)]
        right = walk(node[1])
        return np.where(which == 0, left + right, np.where(which == 1, left - right, left * right))

    return walk(shape)


def expression(shape, operands, operators) -> str:
    """Write a tree with no more parentheses than its meaning needs."""
    next_operator = iter(operators)

    def walk(node):
        if isinstance(node, int):
            return str(operands[node]), 3
        left, left_rank = walk(node[0])
        op = OPERATORS[next(next_operator)]
        right, right_rank = walk(node[1])
        rank = 2 if op == "*" else 1
        left = f"({left})" if left_rank < rank else left
        # a-(b-c) needs its parentheses, a+(b+c) does not.
        bare = right_rank > rank or (right_rank == rank and op != "-")
        return f"{left}{op}{right if bare else f'({right})'}", rank

    return walk(shape)[0]


def _key(digits: str, target: int) -> str:
    return f"countdown:{digits}>{target}"


@functools.lru_cache(maxsize=None)
def _problems_by_split(digits: int, low: int, high: int) -> dict[str, list[tuple[str, int]]]:
    """All solvable (sorted digits, target) of a size, sorted into splits."""
    operands, _, values = _table(digits)
    solvable: dict[str, set[int]] = {}
    for row, reached in zip(operands, values.reshape(len(values), -1)):
        targets = np.unique(reached)
        targets = targets[(targets >= low) & (targets <= high)].tolist()
        solvable.setdefault("".join(map(str, sorted(row))), set()).update(targets)
    splits = {name: [] for name in SPLITS}
    for text in sorted(solvable):
        for target in sorted(solvable[text]):
            splits[split_of(_key(text, target))].append((text, target))
    return splits


def draw(digits: int, low: int, high: int, apart: bool, world: str, split: str, count: int, seed: int) -> list[Problem]:
    """`count` distinct problems of a split, in an order that the seed decides; `apart`: seeds are tested on different problems.

    Raises:
        ConfigError: the split holds fewer problems than asked for.
    """
    have = _problems_by_split(digits, low, high)[choose("split", split, SPLITS)]
    if apart and split == "test":
        have = [problem for problem in have if is_test_of(_key(*problem), seed)]
    if count > len(have):
        raise ConfigError(f"{world} has {len(have)} {split} problems, not {count}.")
    order = np.random.default_rng(derive_seed(world, split, seed)).permutation(len(have))[:count]
    chosen = (have[i] for i in order)
    return [Problem(world, f"{d}>{t}:", str(t), _key(d, t), digits) for d, t in chosen]


@functools.lru_cache(maxsize=None)
def _right_answers(digits: int):
    """Indices into the table of every expression whose problem is in the pretrain split."""
    operands, operators, values = _table(digits)
    allowed = set(_problems_by_split(digits, 1, MAX_TARGET)["pretrain"])
    texts = ["".join(map(str, sorted(row))) for row in operands]
    ok = np.zeros((len(operands), MAX_TARGET + 1), dtype=bool)
    for i, text in enumerate(texts):
        ok[i, [t for t in range(1, MAX_TARGET + 1) if (text, t) in allowed]] = True
    in_range = (values >= 1) & (values <= MAX_TARGET)
    hit = in_range & ok[np.arange(len(operands))[:, None, None], np.clip(values, 0, MAX_TARGET)]
    return np.argwhere(hit), texts


def write_examples(count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(prompt, right answer) pairs from the pretrain split, three and four digits half and half.

    Uniform over expressions, not over problems: easy targets come more often,
    as in any text written by people.
    """
    pairs = []
    for digits, n in ((3, count // 2), (4, count - count // 2)):
        operands, operators, values = _table(digits)
        right, texts = _right_answers(digits)
        for i, j, k in right[rng.integers(len(right), size=n)]:
            answer = expression(SHAPES[digits][k], operands[i].tolist(), operators[j].tolist())
            pairs.append((f"{texts[i]}>{values[i, j, k]}:", answer))
    return pairs


def _world(name: str, digits: int, low: int = 1, high: int = MAX_TARGET, apart: bool = False, **more) -> World:
    return World(
        name=name,
        draw=functools.partial(draw, digits, low, high, apart, name),
        size=lambda split: len(_problems_by_split(digits, low, high)[split]),
        max_new_tokens=16,
        corpus="countdown",
        family="countdown",
        **more,
    )


COUNTDOWN_WORLDS = {
    w.name: w
    for w in (
        _world("countdown3", 3),
        _world("countdown4", 4),
        # Search: many right answers, found by trying; there is one way of working only.
        _world("search", 4, apart=True, start_steps=1000, protocol={
            "steps": 400, "minibatches": 4, "pool_size": 3000, "curve_every": 50, "final_problems": 300, "final_samples": 64}),
        # Out of distribution: targets that no text the policy saw ever named.
        _world("countdown4_large_targets", 4, 100, 199),
    )
}
