"""How `make compare` reads a method against others: own rates, one rate, over the rate, with controls."""

from polarity_lib.claims import Subtest, compare, is_greater, is_less, tail
from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import Reading
from polarity_lib.methods import collect_fixed, method_named
from polarity_lib.papers.baselines.experiments import compared, one_rate, over_rates

LIES = ("tossed", "flipped")


def own(scale: Scale, seed: int, world: str, methods: dict[str, str], rates: dict[str, float]) -> dict[str, RunConfig]:
    """The base, and every method at its own rate."""
    arms = {"base": compared(scale, "base", seed, world, steps=0)}
    return arms | {label: compared(scale, method, seed, world, learning_rate=rates[label]) for label, method in methods.items()}


def one(scale, seed, world, methods, rates) -> dict[str, RunConfig]:
    """Every method at GRPO's rate."""
    return {label: compared(scale, method, seed, world, learning_rate=one_rate(world)) for label, method in methods.items()}


def over(scale, seed, world, methods, rates) -> dict[str, RunConfig]:
    """`label/rate`."""
    label_of = {method: label for label, method in methods.items()}
    found = over_rates(scale, seed, world, tuple(methods.values()))
    return {"/".join((label_of[name.rpartition("/")[0]], name.rpartition("/")[2])): run for name, run in found.items()}


def controls(scale, seed, world, methods, rates) -> dict[str, RunConfig]:
    """The first method under lying verdicts, and with the update sizes of the second.

    One that chooses its answers by their verdicts has done so before anybody lies: it has no such control.
    """
    (label, mine), (other, theirs) = ((label, run) for label, run in own(scale, seed, world, methods, rates).items() if label in
                                      list(methods)[:2])
    usual = method_named(mine.method).collect is collect_fixed
    lies = {f"{label} {kind}": mine.but(verdicts=kind) for kind in LIES if usual}
    return {label: mine, other: theirs} | lies | {f"{label} matched": mine.but(matched_to=theirs.hash)}


def above(name: str, left: str, right: str, metric: str = tail(1), rule=is_greater, **more) -> Subtest:
    """A contrast of test accuracy."""
    return Subtest(name, metric, "", compare(rule, left, right, metric), **more)


def _first(other: str, world: str) -> str:
    return f"above {other}, {world}"


def own_tests(mine: str, other: str, world: str, arms: list[str], samples: int) -> tuple[Subtest, ...]:
    """pass@1 decides; the tail, read where the world's protocol draws enough answers, and the papers' temperature inform."""
    far = min(samples, 256 if world == "search" else 8)
    return (above(_first(other, world), mine, other, primary=True),
            above(f"{_first(other, world)}, k = {far}", mine, other, tail(far)),
            above(f"{_first(other, world)}, temperature 0.6", mine, other, "cool/pass@1"))


def one_tests(mine, other, world, arms, samples) -> tuple[Subtest, ...]:
    """The second reading of pass@1."""
    return (above(f"{_first(other, world)}, one rate", mine, other, reading_of=_first(other, world)),)


def over_tests(mine, other, world, arms, samples) -> tuple[Subtest, ...]:
    """Rate by rate."""
    rates = sorted({arm.rpartition("/")[2] for arm in arms}, key=float)
    return tuple(above(f"{_first(other, world)}, rate {rate}", f"{mine}/{rate}", f"{other}/{rate}") for rate in rates)


def control_tests(mine, other, world, arms, samples) -> tuple[Subtest, ...]:
    """Lying verdicts must cost something; and what is left at the other's update size. Read against the first of the others."""
    if other not in arms:
        return ()
    return (*(above(f"{kind} verdicts below true ones, {world}", f"{mine} {kind}", mine, rule=is_less) for kind in LIES
              if f"{mine} {kind}" in arms),
            above(f"{_first(other, world)}, at its update size", f"{mine} matched", other))


READINGS = {
    "own": Reading("own rates", own, own_tests),
    "one": Reading("one rate", one, one_tests),
    "over": Reading("over the rate", over, over_tests, most_seeds=3),
    "controls": Reading("controls", controls, control_tests, most_seeds=4),
}
