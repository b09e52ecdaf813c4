"""Chain arithmetic: additions and subtractions worked out line by line.

Prompt `3+5-2:`, worked answer `3+5=8;8-2=6#6`: lines separated by `;`, the
final answer after `#`. Styles of the text a base policy may learn:

    worked    3+5=8;8-2=6#6
    checked   3+5=8?3+5=8;8-2=6#6      a line after `?` re-checks the one before
    direct    #6                       no work shown

The level is the number of operations. Traces are longer than countdown's and
every line can be checked.
"""

import functools

import numpy as np

from polarity_lib.config import ConfigError, choose, derive_seed
from polarity_lib.problems.base import SPLITS, Problem, World, is_test_of, split_of

LIMIT = 99  # running values stay within 0..LIMIT
ONE_PASS = 600  # "fresh" problems come in passes of this many: levels are drawn in turn, and level 1 has few chains
STYLES = ("worked", "checked", "direct")
# Four updates per batch, as the papers' codes; about eight points on a curve.
PROTOCOL = {"minibatches": 4, "pool_size": 2000, "curve_every": 13, "final_problems": 300, "final_samples": 64}


# World rare: its levels in turn, one in ten short, and its largest operand.
RARE_LEVELS, RARE_HIGH = (2, 4, 5, 6, 4, 5, 6, 4, 5, 6), 25


def random_terms(level: int, low: int, high: int, rng: np.random.Generator) -> list[int]:
    """Signed operands whose running sum never leaves 0..LIMIT."""
    total = int(rng.integers(low, high + 1))
    terms = [total]
    for _ in range(level):
        size = int(rng.integers(low, high + 1))
        sign = 1 if rng.random() < 0.5 else -1
        if not 0 <= total + sign * size <= LIMIT:
            sign = -sign
        if not 0 <= total + sign * size <= LIMIT:
            return random_terms(level, low, high, rng)
        terms.append(sign * size)
        total += terms[-1]
    return terms


def write_question(terms: list[int]) -> str:
    """[3, 5, -2] -> '3+5-2'."""
    return str(terms[0]) + "".join(f"{t:+d}" for t in terms[1:])


def read_question(prompt: str) -> list[int]:
    """The signed operands of a prompt; a bracketed remark is a distractor and does not count."""
    text, terms, number, depth = prompt.rstrip(":").replace(" ", ""), [], "", 0
    for ch in text + "+":
        depth += (ch == "[") - (ch == "]")
        if depth or ch == "]":
            continue
        if ch in "+-" and number not in ("", "+", "-"):
            terms.append(int(number))
            number = ""
        number += ch
    return terms


def write_trace(terms: list[int], style: str = "worked", rng=None, wrong_line_rate: float = 0.0) -> str:
    """The text of an answer in a style; wrong lines, if asked for, are followed by later ones.

    Raises:
        ConfigError: unknown style.
    """
    choose("style", style, STYLES)
    total, lines = terms[0], []
    for term in terms[1:]:
        value = total + term
        if wrong_line_rate and rng.random() < wrong_line_rate:
            value = max(0, value + int(rng.choice([-10, -2, -1, 1, 2, 10])))
        line = f"{total}{term:+d}={value}"
        lines.append(f"{line}?{line}" if style == "checked" else line)
        total = value
    return f"#{total}" if style == "direct" else ";".join(lines) + f"#{total}"


def _key(terms: list[int]) -> str:
    return "chain:" + ",".join(map(str, sorted(terms)))


def write_examples(
    count: int, rng: np.random.Generator, styles: dict[str, float], levels=(1, 2, 3, 4, 5),
    low: int = 1, high: int = 30, wrong_line_rate: float = 0.0, short: tuple[int, dict[str, float]] | None = None,
) -> list[tuple[str, str]]:
    """(prompt, answer) pairs of the pretrain split, styles mixed by weight; `short`: up to this level by these weights instead."""
    pairs = []
    while len(pairs) < count:
        terms = random_terms(int(rng.choice(levels)), low, high, rng)
        if split_of(_key(terms)) != "pretrain":
            continue
        mixed = short[1] if short and len(terms) - 1 <= short[0] else styles
        names, weights = list(mixed), np.array(list(mixed.values()), dtype=float)
        style = names[rng.choice(len(names), p=weights / weights.sum())]
        pairs.append((write_question(terms) + ":", write_trace(terms, style, rng, wrong_line_rate)))
    return pairs


def _plain(terms, rng):
    return write_question(terms) + ":"


def _with_distractor(terms, rng):
    """A bracketed remark somewhere after the first operand, which changes nothing."""
    question = write_question(terms[:1])
    place = int(rng.integers(len(terms)))
    for i, term in enumerate(terms):
        question += "" if i == 0 else f"{term:+d}"
        if i == place:
            question += f"[{int(rng.integers(1, 31))}-{int(rng.integers(1, 31))}]"
    return question + ":"


def _spaced(terms, rng):
    """Another surface form: blanks around the operators."""
    return " ".join([str(terms[0])] + [f"{'+' if t > 0 else '-'} {abs(t)}" for t in terms[1:]]) + ":"


def draw(levels, low, high, write, apart: bool, world: str, split: str, count: int, seed: int) -> list[Problem]:
    """`count` distinct problems of a split, levels in turn; `apart`: seeds are tested on different problems."""
    choose("split", split, SPLITS)
    rng = np.random.default_rng(derive_seed(world, split, seed))
    problems, seen, tries = [], set(), 0
    while len(problems) < count:
        tries += 1
        if tries > 200 * count + 2000:
            raise ConfigError(f"{world} cannot supply {count} distinct {split} problems.")
        level = levels[len(problems) % len(levels)]
        terms = random_terms(level, low, high, rng)
        key = _key(terms)
        if split_of(key) != split or key in seen or (apart and split == "test" and not is_test_of(key, seed)):
            continue
        seen.add(key)
        problems.append(Problem(world, write(terms, rng), str(sum(terms)), key, level))
    return problems


def _world(name, levels, low=1, high=30, write=_plain, corpus="chain_cold", one_pass=ONE_PASS, apart=False, **more) -> World:
    return World(
        name=name,
        draw=functools.partial(draw, tuple(levels), low, high, write, apart, name),
        size=lambda split: one_pass,
        max_new_tokens=96,
        corpus=corpus,
        family="chain",
        **more,
    )


CHAIN_WORLDS = {
    w.name: w
    for w in (
        # Several ways of working: base policies that have an accurate one and seldom use it (latent), use it
        # now and then (mix), or often (strong). Selecting among ways carries over to every problem.
        _world("latent", range(2, 5), high=20, corpus="latent", apart=True, start_steps=700, protocol=PROTOCOL | {"steps": 100}),
        _world("mix", range(2, 6), high=20, corpus="mix", apart=True, start_steps=500, protocol=PROTOCOL | {"steps": 100}),
        _world("strong", range(2, 6), high=20, corpus="strong", apart=True, start_steps=500,
               protocol=PROTOCOL | {"steps": 80, "curve_every": 10}),
        # The base works out half of the few short problems and hardly any of the long ones: many groups of 16 are all wrong,
        # and can come alive.
        _world("rare", RARE_LEVELS, high=RARE_HIGH, corpus="rare_by_length", apart=True, start_steps=700,
               protocol=PROTOCOL | {"steps": 100, "prompts_per_step": 16, "rollouts_per_prompt": 16}),
        _world("chain", range(1, 6)),
        # For base policies that answer at once although they could work it out (claim C11).
        _world("chain_latent", range(2, 5), high=20, corpus="chain_latent"),
        # Out of distribution: larger operands, another surface form.
        _world("chain_large_operands", range(1, 4), low=31, high=60, one_pass=300),
        _world("chain_spaced", range(1, 6), write=_spaced),
        # Attack: a remark that must be ignored.
        _world("chain_distractor", range(1, 6), write=_with_distractor),
    )
}
