"""The rules of the disputes by hand; which runs they share with PSR/NSR; figures that draw whatever there is."""

import math
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from polarity_lib.claims import judge  # noqa: E402
from polarity_lib.experiments import Runs, experiment, world_rate  # noqa: E402
from polarity_lib.papers.practice import claims, figures, threads  # noqa: E402
from polarity_lib.papers.practice.experiments import EXPERIMENTS, LIMITS, MIXED_FORMATS  # noqa: E402
from polarity_lib.registry import METHODS  # noqa: E402
from polarity_lib.statistics import detectable  # noqa: E402


def configs(name, scale="tiny"):
    return {arm.name: arm.config for arm in experiment(name, scale=scale)}


# ---------------------------------------------------------------- runs


def test_what_psr_nsr_has_is_the_same_run():
    clip, own, updates = configs("practice_clip"), configs("psr_nsr_search"), configs("one_update_search")
    assert clip["base"] == own["base"] and clip["nsr/4 clip"] == own["nsr"] and clip["nsr/1"] == updates["nsr"]
    assert configs("practice_clip_one_rate")["nsr/4 clip"] == configs("one_rate_search")["nsr"]
    others = configs("practice_clip_others")
    assert others["psr/1"] == updates["psr"] and others["psr/4 clip"] == own["psr"]
    assert others["w_reinforce/4 clip"] == own["w_reinforce"] and configs("practice_one_side")["grpo/both"] == own["grpo"]
    for world in ("search", "latent"):
        mine, theirs = configs(f"practice_own_{world}"), configs(f"psr_nsr_{world}")
        assert mine == {name: theirs[name] for name in mine}
        assert configs(f"practice_one_rate_{world}").items() <= configs(f"one_rate_{world}").items()
        assert configs(f"practice_definitions_{world}").items() <= configs(f"definitions_{world}").items()
    strength, starts = configs("strength"), configs("practice_starts")
    for mine, theirs in (("weak", "0.3"), ("strong", "1")):
        assert all(starts[f"{mine}/{m}"] == strength[f"{theirs}/{m}"] for m in ("base", "grpo", "nsr", "psr"))


def test_matched_arms_move_as_far_per_batch_and_variants_have_their_methods_rate():
    arms, rate = configs("practice_clip"), world_rate("search", "nsr")
    for name, config in arms.items():
        if name != "base":
            assert config.minibatches * config.learning_rate == pytest.approx(4 * rate)
    assert (arms["nsr/16 free"].minibatches, arms["nsr/16 free"].method) == (16, "nsr_unclipped")
    assert configs("practice_clip_unmatched")["nsr/16 clip"].learning_rate == rate
    assert len({config.hash for config in arms.values()}) == len(arms)


def test_every_method_is_run_and_the_rambling_start_is_dissectings():
    used = {arm.config.method for name in EXPERIMENTS for arm in experiment(name)}
    assert {name for name in METHODS if METHODS[name].__module__.endswith("practice.methods")} <= used
    zero = configs("dissect_polarity")["zero/base"].start
    for name in ("practice_length", "practice_truncation"):
        assert {config.start for config in configs(name).values()} == {zero}
    assert zero.mixture == MIXED_FORMATS and LIMITS["20 %"] < LIMITS["5 %"] < 96


# ---------------------------------------------------------------- rules


def halves(paths: dict[str, list[list[float]]]) -> Runs:
    """Runs with both halves of their curves: per arm, one (even, odd) path per seed."""
    rows = [{"arm": arm, "seed": seed, "step": 10 * step, "metric": metric, "value": value}
            for arm, per_seed in paths.items() for seed, pair in enumerate(per_seed)
            for metric, path in zip(claims.HALVES, pair) for step, value in enumerate(path)]
    return Runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), [])


def test_choosing_a_checkpoint_by_hand():
    """The even half peaks at its second point, where the odd has 0.20; the odd one at its third, where the even has 0.22."""
    runs = halves({"grpo": [[[0.10, 0.30, 0.22, 0.20], [0.10, 0.20, 0.26, 0.24]]] * 2})
    table = claims.chosen(runs, "grpo")
    assert table.loc[0].tolist() == pytest.approx([28, 21, 22])  # (30 + 26) / 2, (20 + 22) / 2, (20 + 24) / 2
    two = claims.chosen(runs, "grpo", 2)  # the first and the last alone
    assert two.loc[0].tolist() == pytest.approx([22, 22, 22])
    assert claims.choosing_adds("grpo", runs).interval.estimate == pytest.approx(7)
    assert claims.choosing_gains("grpo", runs).interval.estimate == pytest.approx(-1)


def test_choosing_changes_the_order_by_hand():
    runs = halves({"grpo": [[[0.1, 0.2], [0.1, 0.2]]] * 2, "nsr": [[[0.3, 0.1], [0.1, 0.1]]] * 2})
    # NSR is told at (30 + 10) / 2 and ends at 10; GRPO is told at 20 and ends there.
    assert claims.choosing_reorders("nsr", "grpo", runs).interval.estimate == pytest.approx(10)


def test_runs_that_kept_no_halves_say_so():
    with pytest.raises(KeyError):
        claims.chosen(Runs(pd.DataFrame(columns=["arm", "seed", "step", "metric", "value"]), None, None, []), "grpo")


def test_late_changes_and_roughness_by_hand():
    paths = {"validation/entropy": [0.5, 0.2, 0.1, 0.1, 0.15, 0.3], claims.ACCURACY: [0.1, 0.5, 0.6, 0.6, 0.5, 0.4]}
    rows = [{"arm": "dapo/0.28", "seed": s, "step": t, "metric": m, "value": v} for s in (0, 1)
            for m, path in paths.items() for t, v in enumerate(path)]
    runs = Runs(pd.DataFrame(rows), None, None, [])
    # A third of six points ends at the second: (0.5 + 0.2) / 2; the end: (0.15 + 0.3) / 2.
    found = claims.late_change("dapo/0.28", "validation/entropy", claims.is_greater, 0.0, runs)
    assert found.interval.estimate == pytest.approx(100 * (0.225 / 0.35 - 1))
    fell = claims.late_change("dapo/0.28", claims.ACCURACY, claims.is_less, 100.0, runs)
    assert fell.interval.estimate == pytest.approx(45 - 30)
    assert claims.roughness(runs).loc[0, "dapo/0.28"] == pytest.approx(100 * (0.4 + 0.1 + 0 + 0.1 + 0.1) / 5)


def test_the_seeds_that_would_decide():
    """Four seeds with a spread of 6 points: so many seeds that 3 points are seen with 80 %."""
    row = SimpleNamespace(seeds=4, low=-9.0, smallest_detectable=detectable(6.0, 4))
    needed = claims.seeds_to_decide(row, 3.0)
    assert detectable(6.0, int(needed)) <= 3.0 < detectable(6.0, int(needed) - 1) and 30 < needed < 40
    assert math.isnan(claims.seeds_to_decide(SimpleNamespace(seeds=1, low=math.nan, smallest_detectable=math.nan), 3.0))


def test_an_outside_number_decides_nothing():
    table = judge("PRACTICE-P8")
    assert table.verdict.tolist() == ["inconclusive"] * 2 and table.ours.iloc[0] == 6.0 and "+11" in table.theirs.iloc[0]


def test_every_dispute_is_told_and_has_advice():
    names = [claim.name for claim in claims.CLAIMS]
    assert names == [f"PRACTICE-P{i}" for i in range(1, 12)] and set(threads.DISPUTES) == set(names)
    for claim in claims.CLAIMS:
        primary = [test for test in claim.tests() if test.primary]
        assert 1 <= len(primary) <= 2 or not claim.experiment, claim.name
        assert "Said" in threads.told(claim.name)
        line = threads.advice(claim.name, "no effect", "2 no effect")
        assert "TRL:" in line and "verl:" in line


# ---------------------------------------------------------------- figures


def made_up(name: str, seeds: int = 2) -> Runs:
    """Random numbers under an experiment's arms."""
    rng = np.random.default_rng(0)
    arms = experiment(name, scale="smoke", seeds=seeds)
    curve = ("validation/pass@1", "validation/entropy", "validation/length", "validation/verdicts/truncated", "length/wrong",
             "groups/all_right", "groups/all_wrong", *claims.HALVES, *figures.TAKEN, "away/0.1", "verdicts/truncated")
    end = ("test/pass@1", "test/pass@8", "test/pass@64", "test/entropy", "test/length", "from_base/kl")
    metrics = [{"arm": a.name, "seed": a.seed, "step": step, "metric": m, "value": rng.uniform(0.2, 0.4)}
               for a in arms for m in (*curve, *end) for step in ((0, 5, 10) if m in curve else (10,))]
    return Runs(pd.DataFrame(metrics), pd.DataFrame(), pd.DataFrame(), arms)


@pytest.mark.parametrize("seeds", [1, 2])
def test_figures_draw_what_there_is(seeds):
    clip, own = made_up("practice_clip", seeds), made_up("practice_own_search", seeds)
    rows = {"there": ("practice_clip", "nsr/4 clip", "nsr/4 free"), "not there": ("practice_kl", "a", "b")}
    drawn = [
        figures.plot_updates(clip, {"test/pass@64": ("pass@64", 100.0), "test/pass@256": ("none", 1.0)}),
        figures.plot_contrasts({"practice_clip": clip}, rows), figures.plot_bounds(made_up("practice_clip_higher", seeds)),
        figures.plot_contrasts({"practice_clip": clip}, rows, "test/entropy", unit="per cent"),
        figures.plot_lengths(made_up("practice_length", seeds)), figures.plot_treatments(made_up("practice_truncation", seeds)),
        figures.plot_checkpoints({"search": own}, ("grpo", "nsr"), (2, 3)),
        figures.plot_outside({"search": own}, {"theirs": 6.0}),
        figures.plot_starts({"search": (own, "psr", "nsr")})]
    for fig in drawn:
        fig.canvas.draw()
        assert any(ax.has_data() for ax in fig.axes)
    plt.close("all")


def test_what_the_clip_takes_is_a_mean_over_training():
    rows = [{"arm": "nsr/4 clip", "seed": 0, "step": s, "metric": "clip/lowered", "value": v}
            for s, v in ((5, 0.001), (10, 0.003))]
    table = figures.taken_by_clip(Runs(pd.DataFrame(rows), None, None, []))
    assert table.loc["nsr/4 clip", "lowered tokens"] == pytest.approx(0.2)
    assert figures.taken_by_clip(Runs(pd.DataFrame(columns=["arm", "metric", "value"]), None, None, [])).empty
