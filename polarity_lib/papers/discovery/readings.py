"""What `make compare` reads on the dial: the time to discovery at the telling level, each method at its own rate."""

import functools

from polarity_lib.claims import Subtest, is_greater
from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import Reading, Runs
from polarity_lib.papers.baselines.experiments import compared
from polarity_lib.papers.discovery.clock import compare_times
from polarity_lib.papers.discovery.experiments import TELLING, WORLD, at_rarity


def dial(scale: Scale, seed: int, world: str, methods: dict[str, str], rates: dict[str, float]) -> dict[str, RunConfig]:
    """Every method from a base that works its answers out very seldom."""
    runs = {label: compared(scale, method, seed, world, learning_rate=rates[label]) for label, method in methods.items()}
    return {label: at_rarity(config, scale, TELLING) for label, config in runs.items()}


def tests(mine: str, other: str, world: str, arms: list[str], samples: int) -> tuple[Subtest, ...]:
    """Who finds the rare way sooner."""
    return (Subtest(f"sooner than {other}, r = {TELLING:g}", "lead, % of the horizon", "",
                    functools.partial(compare_times, is_greater, mine, other), primary=True),)


def draw(runs: Runs, labels: list[str]):
    """The discovery curves."""
    from polarity_lib.papers.discovery.figures import plot_discovery

    return plot_discovery(runs, labels)


READINGS = {"dial": Reading("the dial", dial, tests, worlds=(WORLD,), draw=draw)}
