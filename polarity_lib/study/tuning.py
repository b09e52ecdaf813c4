"""A method's learning rate in a world, chosen by a rule that was fixed before any run.

    python -m polarity_lib tune latent grpo,nsr

A grid of factor 2 over half the world's horizon on two validation seeds. The rate with the highest mean
held-out pass@1 at the end wins, among the rates at which no run has collapsed (fallen below half of its
start's pass@1); ties go to the lower one. A winner at the edge of the grid extends the grid.
"""

import json

from polarity_lib.config import SCALES, RunConfig, Scale, choose
from polarity_lib.experiments import RATES_FILE, UNTUNED, Arm, in_world, rates_record, train_or_load, unless_smoke
from polarity_lib.outside import strict_json
from polarity_lib.problems import WORLDS, world_named
from polarity_lib.registry import METHODS
from polarity_lib.results import write_atomic

SEEDS = (1000, 1001)  # validation seeds: never used for a reported number
MAX_RATES = 8  # of one grid; a method that is still at the edge then has no optimum here
METRIC = "validation/pass@1"


def grid_run(scale: Scale, method: str, world: str, rate: float, seed: int) -> RunConfig:
    """One cell of a grid: half the horizon, more held-out problems, hardly any final evaluation."""
    steps = max(2, world_named(world).protocol["steps"] // 2)
    few = {"final_problems": 20, "final_samples": 4}
    sizes = unless_smoke(scale, steps=steps, curve_every=steps // 2, curve_problems=300, **few)
    return in_world(scale, method, seed, world, learning_rate=rate, **sizes)


def measure(scale: str, method: str, world: str, rate: float) -> dict:
    """The mean at the end over both seeds, and whether a run collapsed."""
    name = f"{world}/{method}/{rate:g}"
    arms = [Arm("tuning", name, grid_run(SCALES[scale], method, world, rate, seed), scale) for seed in SEEDS]
    rows = train_or_load(arms).metrics.query("metric == @METRIC").sort_values("step").groupby("seed").value
    start, end = rows.first(), rows.last()
    means = {"start": round(float(start.mean()), 4), "end": round(float(end.mean()), 4)}
    return means | {"collapsed": bool((end < 0.5 * start).any())}


def best(grid: dict[float, dict]) -> float:
    """The rule, on a measured grid."""
    stable = [rate for rate, cell in grid.items() if not cell["collapsed"]] or [min(grid)]
    return min(stable, key=lambda rate: (-grid[rate]["end"], rate))


def tune(world: str, method: str, scale: str = "tiny", centre: float = UNTUNED) -> float:
    """Measure the grid until its best rate is not at an edge; at scale tiny, write it to data/rates.json.

    Raises:
        ConfigError: unknown world or method.
    """
    grid = search(world, method, scale, centre)
    if scale == "tiny":
        keep(world, method, grid)
    return best(grid)


def search(world: str, method: str, scale: str = "tiny", centre: float = UNTUNED, most: int | None = None) -> dict[float, dict]:
    """The measured grid, grown until its best rate is not at an edge or it has `most` rates (MAX_RATES by default; 1: `centre`).

    Raises:
        ConfigError: unknown scale, world or method.
    """
    choose("scale", scale, SCALES)
    choose("world", world, WORLDS)
    choose("method", method, METHODS)
    grid = {}
    wanted = [centre] if most == 1 else [centre / 2, centre, centre * 2]
    while wanted and len(grid) < (most or MAX_RATES):
        for rate in wanted:
            grid[rate] = measure(scale, method, world, rate)
        rate = best(grid)
        wanted = [rate / 2] if rate == min(grid) else [rate * 2] if rate == max(grid) else []
    return grid


def keep(world: str, method: str, grid: dict[float, dict]) -> None:
    """Write a grid and its best rate into data/rates.json."""
    record = json.loads(RATES_FILE.read_text(encoding="utf-8"))
    cells = {f"{rate:g}": grid[rate] for rate in sorted(grid)}
    record.setdefault("worlds", {}).setdefault(world, {})[method] = {
        "rate": best(grid), "at_edge": best(grid) in (min(grid), max(grid)), "seeds": list(SEEDS), "metric": METRIC,
        "grid": cells}
    write_atomic(RATES_FILE, (strict_json(record, indent=1) + "\n").encode())
    rates_record.cache_clear()
