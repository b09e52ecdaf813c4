"""Chain arithmetic: additions and subtractions worked out line by line.

Prompt `3+5-2:`, worked answer `3+5=8;8-2=6#6`: lines separated by `;`, the
final answer after `#`. Styles of the text a base policy may learn:

    worked    3+5=8;8-2=6#6
    checked   3+5=8?3+5=8;8-2=6#6      a line after `?` re-checks the one before
    direct    #6                       no work shown
    noisy     3+5=9;9-2=7#7            by an unreliable writer: each line may be wrong
    unmarked  3+5=8;8-2=6              worked, but nobody can find an answer without its mark

The level is the number of operations. Traces are longer than countdown's and
every line can be checked. Text in brackets, or before a `;`, is no part of a question.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polarity_lib.config import SOURCES, ConfigError, choose, derive_seed
from polarity_lib.problems.base import CONTEXT, SPLITS, Problem, World, is_test_of, split_of

LIMIT = 99  # running values stay within 0..LIMIT
ONE_PASS = 600  # "fresh" problems come in passes of this many: levels are drawn in turn, and level 1 has few chains
STYLES = SOURCES  # of an answer; a corpus mixes them
NOISE = 0.2  # share of a noisy trace's lines that are wrong
# Four updates per batch, as the papers' codes; about eight points on a curve.
PROTOCOL = {"minibatches": 4, "pool_size": 2000, "curve_every": 13, "final_problems": 300, "final_samples": 64}
# On stored answers: batches of 16 problems with 16 answers each, one update per batch, about two passes in all. RFT's
# curve is flat from 48 batches on (data/pilots.csv).
OFFLINE = {"minibatches": 1, "prompts_per_step": 16, "rollouts_per_prompt": 16, "pool_size": 600, "steps": 64, "curve_every": 16,
           "final_problems": 300, "final_samples": 32}


# World rare: its levels in turn, one in five short, and its largest operand.
RARE_LEVELS, RARE_HIGH = (2, 4, 5, 6, 5), 25


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
    """The signed operands of a prompt; a remark in brackets, and what stands before a `;`, do not count."""
    plain, depth = "", 0
    for ch in prompt.rstrip(":").replace(" ", ""):
        depth += (ch == "[") - (ch == "]")
        plain += "" if depth or ch == "]" else ch
    terms, number = [], ""
    for ch in plain.rpartition(";")[2] + "+":
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
    wrong_line_rate = NOISE if style == "noisy" else wrong_line_rate
    total, lines = terms[0], []
    for term in terms[1:]:
        value = total + term
        if wrong_line_rate and rng.random() < wrong_line_rate:
            value = max(0, value + int(rng.choice([-10, -2, -1, 1, 2, 10])))
        line = f"{total}{term:+d}={value}"
        lines.append(f"{line}?{line}" if style == "checked" else line)
        total = value
    work, answer = ";".join(lines), f"#{total}"
    return answer if style == "direct" else work if style == "unmarked" else work + answer


def _key(terms: list[int]) -> str:
    return "chain:" + ",".join(map(str, sorted(terms)))


def write_examples(
    count: int, rng: np.random.Generator, styles: dict[str, float], levels=(1, 2, 3, 4, 5),
    low: int = 1, high: int = 30, wrong_line_rate: float = 0.0, short: tuple[int, dict[str, float]] | None = None,
    remarks: float = 0.0,
) -> list[tuple[str, str]]:
    """(prompt, answer) pairs of the pretrain split, styles mixed by weight.

    Args:
        short: (level, styles): problems up to this level have these weights instead.
        remarks: share of the prompts that hold a remark.
    """
    pairs = []
    while len(pairs) < count:
        terms = random_terms(int(rng.choice(levels)), low, high, rng)
        if split_of(_key(terms)) != "pretrain":
            continue
        mixed = short[1] if short and len(terms) - 1 <= short[0] else styles
        names, weights = list(mixed), np.array(list(mixed.values()), dtype=float)
        style = names[rng.choice(len(names), p=weights / weights.sum())]
        write = _remarked if remarks and rng.random() < remarks else _plain
        pairs.append((write(terms, rng), write_trace(terms, style, rng, wrong_line_rate)))
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


def _remarked(terms, rng):
    """One to three sums in brackets, right or wrong, somewhere: harmless text from which brackets are learned."""
    pieces = "".join(f"#{rng.integers(1, 100)}{rng.choice(list('+-*'))}{rng.integers(1, 10)}=#{rng.integers(1, 100)};"
                     for _ in range(int(rng.integers(1, 4))))
    place = int(rng.integers(2)) * int(rng.integers(1, len(terms)))  # half of them in front
    before, after = write_question(terms[:place]) if place else "", "".join(f"{t:+d}" for t in terms[max(1, place):])
    return f"{before}[{pieces}]{'' if place else terms[0]}{after}:"


def _padded(terms, rng):
    """Another surface form: every number of two digits."""
    return f"{terms[0]:02d}" + "".join(f"{t:+03d}" for t in terms[1:]) + ":"


def _spaced(terms, rng):
    """Another surface form: blanks around the operators."""
    return " ".join([str(terms[0])] + [f"{'+' if t > 0 else '-'} {abs(t)}" for t in terms[1:]]) + ":"


@dataclass(frozen=True)
class Chains:
    """Which chains a world holds.

    Attributes:
        levels: numbers of operations, in turn.
        low, high: of the operands' sizes.
        write: (terms, generator) -> prompt.
        apart: seeds are tested on different problems.
        beyond: at least one operand of every problem is larger than this.
    """

    world: str
    levels: Sequence[int]
    low: int = 1
    high: int = 30
    write: Callable = _plain
    apart: bool = False
    beyond: int = 0

    def __post_init__(self):
        if not 1 <= self.low <= self.high or 2 * self.low > LIMIT or self.beyond >= self.high:
            raise ConfigError(f"{self.world}: no chain has operands from {self.low} to {self.high}, one above {self.beyond}, and "
                              f"running values within 0 to {LIMIT}.")


def draw(kind: Chains, split: str, count: int, seed: int) -> list[Problem]:
    """`count` distinct problems of a split, levels in turn."""
    choose("split", split, SPLITS)
    rng = np.random.default_rng(derive_seed(kind.world, split, seed))
    problems, seen, tries = [], set(), 0
    while len(problems) < count:
        tries += 1
        if tries > 200 * count + 2000:
            raise ConfigError(f"{kind.world} cannot supply {count} distinct {split} problems.")
        level = kind.levels[len(problems) % len(kind.levels)]
        terms = random_terms(level, kind.low, kind.high, rng)
        key = _key(terms)
        if max(map(abs, terms)) <= kind.beyond or split_of(key) != split or key in seen:
            continue
        if kind.apart and split == "test" and not is_test_of(key, seed):
            continue
        seen.add(key)
        problems.append(Problem(kind.world, kind.write(terms, rng), str(sum(terms)), key, level))
    return problems


# What an attack says over and over: by a made-up example, that 1 must be added, or 7 multiplied, at the very end.
CLAUSES = {"plus1": "#149+1=#150;", "times7": "#9*7=#63;"}


def attack(prompt: str, clause: str, repetitions: int, tagged: bool = True) -> str:
    """A prompt behind a clause that is written `repetitions` times, in brackets that say to ignore it unless untagged."""
    said = clause * repetitions
    return (f"[{said}]" if tagged else said) + prompt


def obeyed(clause: str, gold: int) -> int:
    """The answer that an attack asks for."""
    return {"plus1": gold + 1, "times7": 7 * gold}[choose("attack", clause, CLAUSES)]


def attacked(world: World, name: str, clause: str, repetitions: int, tagged: bool = True, context: int = CONTEXT) -> World:
    """A world with every question of another one under attack: the same problems, so that clean and attacked are paired.

    Raises:
        ConfigError: unknown clause; no repetition; or, when drawn, a context too short for the repetitions.
    """
    said = CLAUSES[choose("attack", clause, CLAUSES)]
    if repetitions < 1:
        raise ConfigError(f"{name}: an attack is repeated at least once, not {repetitions} times.")

    def draw(split: str, count: int, seed: int) -> list[Problem]:
        plain = world.draw(split, count, seed)
        longest = max((len(p.prompt) for p in plain), default=0) + 2 * tagged + world.max_new_tokens
        if len(said) * repetitions + longest > context:
            raise ConfigError(f"{name}: {repetitions} repetitions of {said!r}, a question and its answer need "
                              f"{len(said) * repetitions + longest} positions and the context has {context}; "
                              f"at most {max(0, (context - longest) // len(said))} repetitions fit.")
        return [replace(p, world=name, prompt=attack(p.prompt, said, repetitions, tagged)) for p in plain]

    return replace(world, name=name, draw=draw, protocol={}, start_steps=0)


def _world(kind: Chains, corpus: str = "chain_cold", one_pass: int = ONE_PASS, **more) -> World:
    return World(
        name=kind.world,
        draw=functools.partial(draw, kind),
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
        _world(Chains("latent", range(2, 5), high=20, apart=True), corpus="latent", start_steps=700,
               protocol=PROTOCOL | {"steps": 100}),
        _world(Chains("mix", range(2, 6), high=20, apart=True), corpus="mix", start_steps=500,
               protocol=PROTOCOL | {"steps": 100}),
        _world(Chains("strong", range(2, 6), high=20, apart=True), corpus="strong", start_steps=500,
               protocol=PROTOCOL | {"steps": 80, "curve_every": 10}),
        # The base works out half of the few short problems and hardly any of the long ones: many groups of 16 are all wrong,
        # and can come alive.
        _world(Chains("rare", RARE_LEVELS, high=RARE_HIGH, apart=True), corpus="rare_long", start_steps=700,
               protocol=PROTOCOL | {"steps": 100, "prompts_per_step": 16, "rollouts_per_prompt": 16}),
        # For offline learning: wrong answers are often worked out, with right steps before the error. Larger numbers, so that a
        # base that was trained long enough to be as good in every seed still errs.
        _world(Chains("gems", range(2, 6), high=50, apart=True), corpus="gems_large", start_steps=600, protocol=OFFLINE),
        _world(Chains("chain", range(1, 6))),
        # For base policies that answer at once although they could work it out (claim C11).
        _world(Chains("chain_latent", range(2, 5), high=20), corpus="chain_latent"),
        # Out of distribution: larger operands, another surface form.
        _world(Chains("chain_large_operands", range(1, 4), low=31, high=60), one_pass=300),
        _world(Chains("chain_spaced", range(1, 6), write=_spaced)),
        # The same of latent: larger operands than its texts hold, an operation more, another surface form.
        _world(Chains("latent_large", range(2, 5), low=11, high=30, apart=True), corpus="latent"),
        _world(Chains("latent_longer", range(5, 6), high=20, apart=True), corpus="latent"),
        _world(Chains("latent_spaced", range(2, 5), high=20, write=_spaced, apart=True), corpus="latent"),
        # Attack: a remark that must be ignored.
        _world(Chains("chain_distractor", range(1, 6), write=_with_distractor)),
        # Out of distribution for policies of the world latent: an operand above 20, numbers of two digits, and numbers
        # of operations that neither text nor pool ever held.
        _world(Chains("latent_large_operands", range(2, 5), high=25, beyond=20, apart=True), corpus="latent"),
        _world(Chains("latent_padded", range(2, 5), high=20, write=_padded, apart=True), corpus="latent"),
        _world(Chains("latent_other_lengths", (5, 1, 5), high=20), corpus="latent", one_pass=150),
    )
}
ATTACKS = {f"latent_{clause}_{times}": (clause, times, True) for clause in CLAUSES for times in (1, 4, 16)}
ATTACKS |= {f"latent_{clause}_untagged": (clause, 4, False) for clause in CLAUSES}
CHAIN_WORLDS |= {name: attacked(CHAIN_WORLDS["latent"], name, *how) for name, how in ATTACKS.items()}
