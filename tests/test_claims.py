"""The rules that judge claims, on numbers where the verdict is plain to see; and every claim, on made-up runs."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_runs import by_hand, curves

from polarity_lib import claims
from polarity_lib.claims import Finding, each_above, judge, judge_all, relative_area, relative_final
from polarity_lib.config import ConfigError, RunConfig, StartConfig
from polarity_lib.evaluation import powers_of_two
from polarity_lib.experiments import Runs, experiment, load_finished
from polarity_lib.mechanism import hand_made
from polarity_lib.papers.dissecting.experiments import untuned
from polarity_lib.registry import CLAIMS, EXPERIMENTS, PROBES, WATCHES, papers
from polarity_lib.results import ROOT, RunFolder, published_root
from polarity_lib.run import prepare
from polarity_lib.training import train

NOISE = np.array([-0.1, 0.1, -0.05, 0.05])  # four seeds that hardly differ
NUMBERS = ("ours", "low", "high", "boot_low", "boot_high", "seeds", "smallest_detectable", "p", "p_holm")
WITH_RUNS = [name for name, claim in CLAIMS.items() if claim.experiment]


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize("shift, verdict", [(5, "replicated"), (-5, "differs here"), (0, "no effect")])
def test_is_greater(shift, verdict):
    assert claims.is_greater(shift + NOISE).verdict == verdict


def test_is_less_is_its_mirror():
    found = claims.is_less(NOISE - 5)
    assert found.verdict == "replicated"
    assert found.interval.estimate == pytest.approx(-5) and found.interval.low < -5 < found.interval.high
    assert claims.is_less(NOISE + 5).verdict == "differs here"


def test_wide_intervals_settle_nothing():
    for rule in (claims.is_greater, claims.is_less, claims.is_equivalent, claims.is_not_worse):
        assert rule([-20, 20, -15, 25]).verdict == "inconclusive"


@pytest.mark.parametrize("shift, equal, not_worse", [
    (0, "replicated", "replicated"),
    (-2, "replicated", "replicated"),  # inside the margin of 3
    (-6, "differs here", "differs here"),
    (6, "differs here", "replicated"),  # better is not worse
])
def test_as_good_as(shift, equal, not_worse):
    assert claims.is_equivalent(shift + NOISE).verdict == equal
    assert claims.is_not_worse(shift + NOISE).verdict == not_worse


def test_a_margin_is_an_argument():
    assert claims.is_greater(NOISE, margin=0.01).verdict == "inconclusive"
    assert claims.is_equivalent(NOISE - 6, margin=10.0).verdict == "replicated"
    assert claims.is_not_worse(NOISE - 6, margin=10.0).verdict == "replicated"


def test_one_seed_gives_no_interval():
    for rule in (claims.is_greater, claims.is_less, claims.is_equivalent, claims.is_not_worse):
        assert rule([5.0]).verdict == "inconclusive"


def test_an_order_is_judged_over_all_its_arms():
    rising = np.array([[1, 2, 3], [1.1, 2.2, 3.1], [0.9, 2.1, 3.3], [1, 2.1, 2.9]])
    assert claims.is_ordered(rising, ["a", "b", "c"]).verdict == "replicated"
    assert claims.is_ordered(rising[:, ::-1], ["c", "b", "a"]).verdict == "differs here"
    assert "a (1.0) < b (2.1)" in claims.is_ordered(rising, ["a", "b", "c"]).reason


def test_an_order_with_one_pair_reversed_is_none():
    # A trend test over four arms would call this an order: 1, 2, 4, 3 rises.
    rising = np.array([1.0, 2.0, 4.0, 3.0]) + 0.05 * np.random.default_rng(0).standard_normal((8, 4))
    found = claims.is_ordered(rising, ["a", "b", "c", "d"])
    assert found.verdict == "differs here" and "d below c" in found.reason
    assert found.interval.estimate == pytest.approx(-1, abs=0.1)
    assert claims.is_ordered(0.01 * rising, list("abcd"), margin=1).verdict == "differs here"  # small, but seen
    flat = 0.1 * np.random.default_rng(1).standard_normal((8, 4))
    assert claims.is_ordered(flat, list("abcd")).verdict == "no effect"


def test_the_p_value_and_the_interval_say_the_same():
    for differences in ([1.0, 2, 3, 2.5], [0.2, -0.3, 0.4, 0.1], [-4.0, -5, -3, -4.5], [9.0, -8, 7, 1]):
        for rule in (claims.is_greater, claims.is_less, claims.is_equivalent, claims.is_not_worse):
            found = rule(differences)
            assert (found.p < 0.05) == (found.verdict != "inconclusive"), (rule, differences)


@pytest.mark.parametrize("verdicts, needed, whole", [
    (["replicated", "replicated"], 0, "replicated"),
    (["replicated", "differs here"], 0, "differs here"),
    (["differs here", "depends on the rate"], 0, "depends on the rate"),
    (["replicated", "contradicted"], 0, "contradicted"),
    (["replicated", "inconclusive"], 0, "inconclusive"),
    (["no effect", "no effect"], 0, "no effect"),
    (["not run at this scale"], 0, "not run at this scale"),
    (["replicated", "not run at this scale"], 0, "inconclusive"),
    # "at least two of three"
    (["replicated", "replicated", "inconclusive"], 2, "replicated"),
    (["replicated", "replicated", "no effect"], 2, "replicated"),
    (["replicated", "inconclusive", "inconclusive"], 2, "inconclusive"),
    (["replicated", "replicated", "differs here"], 2, "differs here"),
    (["inconclusive"] * 3, 2, "inconclusive"),
])
def test_roll_up(verdicts, needed, whole):
    word, reason = claims.roll_up(verdicts, needed)
    assert word == whole
    assert all(f"{verdicts.count(v)} {v}" in reason for v in verdicts)
    assert reason.startswith("partly") == (whole != "replicated" and "replicated" in verdicts)


# ---------------------------------------------------------------- reading runs, with a pencil


def test_areas_and_ends_of_curves():
    runs = curves({"a": [[1, 2, 3], [2, 2, 5]], "b": [[1, 1, 2], [4, 4, 4]]}, "x")
    # Means over training: a 2 and 3, b 4/3 and 4. Ends: a 3 and 5, b 2 and 4.
    assert relative_area(runs, "a", "b", "x") == pytest.approx([50, -25])
    assert relative_final(runs, "a", "b", "x") == pytest.approx([50, 25])
    assert claims.difference(runs, "a", "b", "x", scale=1.0) == pytest.approx([1, 1])
    assert claims.at_step(runs, "x", 1.0, width=2)["a"].tolist() == [2.5, 3.5]
    assert claims.at_step(runs, "x", 0.25, width=2)["a"].tolist() == [1.5, 2]  # never fewer points than `width`


def test_a_share_of_the_longest_run_where_one_collapses():
    whole = curves({"a": [[9, 8, 7, 6, 5, 4]]}, "x").metrics
    runs = Runs(pd.concat([whole, whole[whole.step <= whole.step.iloc[2]].assign(seed=1)]), pd.DataFrame(), pd.DataFrame(), [])
    third, end = (claims.at_share(runs, "x", share)["a"] for share in (1 / 3, 1.0))
    assert third.tolist() == [8.5, 8.5] and end.tolist() == [4.5, 7]  # the second stays at 7, where it ended


def test_a_diverged_seed_is_no_missing_seed():
    runs = curves({"base": [[0.3], [0.5], [0.4]], "psr": [[0.4], [0.61], [0.5]]}, "test/greedy")
    lost = pd.DataFrame({"seed": 3, "arm": "psr", "step": 1, "metric": ["run/diverged", "test/pass@1"], "value": 0.0})
    rest = pd.DataFrame({"seed": [3], "arm": ["base"], "step": 1, "metric": ["test/greedy"], "value": 0.4})
    test = claims.Subtest("greedy", "test/greedy", "", claims.compare(claims.is_greater, "psr", "base", "test/greedy"))
    claim = claims.Claim("X", "", "psr_nsr_latent", "10", "", (test,))
    assert claims.find(claim, test, runs).verdict == "replicated"
    after = dataclasses.replace(runs, metrics=pd.concat([runs.metrics, lost, rest]))
    found = claims.find(claim, test, after)
    assert found.verdict == "inconclusive" and "diverged in 1 seeds" in found.reason


def with_collapse(runs: Runs, *lost: tuple[str, int]) -> Runs:
    """The same runs, of which some ended early: at step 1, with nothing right."""
    rows = pd.DataFrame([{"arm": arm, "seed": seed, "step": 1, "metric": m, "value": v} for arm, seed in lost
                         for m, v in (("run/diverged", 1.0), ("test/pass@1", 0.0))])
    kept = [(row.arm, row.seed) not in lost or row.step == 0 for row in runs.metrics.itertuples()]
    return dataclasses.replace(runs, metrics=pd.concat([runs.metrics[kept], rows], ignore_index=True))


def test_a_seed_counts_as_lost_only_where_an_arm_that_is_read_diverged():
    runs = curves({"a": [[1.0, 2.0]] * 3 + [[1.0, 2.1]], "b": [[1.0, 1.0]] * 4, "c": [[1.0, 1.5]] * 4}, "entropy")
    test = claims.Subtest("area", "entropy", "", lambda runs: claims.is_greater(relative_area(runs, "a", "b", "entropy"), 10.0))
    claim = claims.Claim("X", "", "psr_nsr_latent", "10", "", (test,))
    assert claims.find(claim, test, runs).verdict == "replicated"
    assert claims.find(claim, test, with_collapse(runs, ("c", 0), ("c", 1))).verdict == "replicated"  # c is not compared
    for lost in ([("a", 0)], [("a", 0), ("c", 1)], [("a", s) for s in range(4)]):  # only the beginning of a is there
        found = claims.find(claim, test, with_collapse(runs, *lost))
        assert found.verdict == "inconclusive" and f"diverged in {sum(arm == 'a' for arm, _ in lost)} seeds" in found.reason
        assert found.p == 1.0  # it still counts as a test that was made


def test_a_lost_policy_has_no_accuracy_which_is_a_value_and_no_gap():
    runs = curves({"a": [[0.5, 0.8], [0.5, 0.8], [0.5, 0.7]], "b": [[0.5, 0.6], [0.5, 0.62], [0.5, 0.61]]}, "test/pass@1")
    test = claims.Subtest("end", "test/pass@1", "", claims.compare(claims.is_less, "b", "a", "test/pass@1"))
    claim = claims.Claim("X", "", "psr_nsr_latent", "10", "", (test,))
    assert claims.find(claim, test, with_collapse(runs, *(("b", s) for s in range(3)))).verdict == "replicated"


def test_a_threshold_that_was_just_met_is_no_absence_of_an_effect():
    runs = curves({"a": [[60.2], [59.8], [60.1]], "b": [[50.0], [50.0], [50.0]]}, "x")

    def beyond(runs):
        return claims.is_greater(claims.difference(runs, "a", "b", "x", scale=1.0) - 10)

    claim = claims.Claim("X", "", "psr_nsr_latent", "10", "", ())
    plain, shifted = (claims.Subtest("rises by 10", "x", "", beyond, shown=shown) for shown in ("", "the gain minus 10"))
    assert claims.find(claim, plain, runs).verdict == "no effect"
    found = claims.find(claim, shifted, runs)
    assert found.verdict == "inconclusive" and "near the threshold" in found.reason


def test_a_seed_that_one_arm_lacks_is_left_out_of_the_pairs():
    runs = curves({"a": [[1, 2, 3], [2, 2, 5]], "b": [[1, 1, 2]]}, "x")
    assert relative_area(runs, "a", "b", "x") == pytest.approx([50])
    assert claims.difference(runs, "a", "b", "x", scale=1.0) == pytest.approx([1])


def test_above_each_of_several_with_one_simultaneous_interval():
    # a - b = 5, 6, 7 points; a - c = -1, 0, 1. Three seeds, so the bound is Bonferroni's over two:
    # t(0.9875, 2 degrees of freedom) = 6.205 times 1 / sqrt(3), where one comparison alone has 4.303.
    runs = by_hand({"a": [0.50, 0.52, 0.54], "b": [0.45, 0.46, 0.47], "c": [0.51, 0.52, 0.53]})
    above, level = (each_above("a", ("b", "c"), "test/pass@1", other)(runs) for other in ("b", "c"))
    assert (above.interval.estimate, above.interval.low) == pytest.approx((6, 6 - 6.205 / 3**0.5), abs=1e-3)
    assert above.verdict == "replicated"
    assert level.interval.high == pytest.approx(6.205 / 3**0.5, abs=1e-3) and level.verdict == "inconclusive"
    assert each_above("b", ("a", "c"), "test/pass@1", "a")(runs).verdict == "differs here"
    assert each_above("a", ("b", "c"), "test/pass@1", "c", margin=4.0)(runs).verdict == "no effect"


def test_above_each_with_one_seed_or_with_a_seed_missing():
    one = by_hand({"a": [0.5], "b": [0.4], "c": [0.3]})
    assert each_above("a", ("b", "c"), "test/pass@1", "b")(one).verdict == "inconclusive"
    short = by_hand({"a": [0.50, 0.52, 0.54], "b": [0.45, 0.46, 0.47], "c": [0.51, 0.52]})
    found = each_above("a", ("b", "c"), "test/pass@1", "b")(short)
    assert found.interval.n == 2 and found.interval.estimate == pytest.approx(5.5)


def test_checks_turn_a_table_into_subtests_that_need_no_run():
    table = pd.DataFrame({"subtest": ["holds", "fails"], "ours": [1e-9, 0.5], "tolerance": [1e-6, 0.1],
                          "passed": [True, False]})
    holds, fails = claims.checks(lambda: table, "largest error")
    assert (holds.name, holds.metric, holds.find(None).verdict) == ("holds", "largest error", "replicated")
    assert fails.find(None).verdict == "contradicted" and fails.find(None).interval.estimate == 0.5
    assert "0.1" in fails.find(None).reason


# ---------------------------------------------------------------- judging


def test_judge_reads_shares_as_points_and_pairs_by_seed():
    table = judge("PSRNSR-C1", {"psr_nsr_latent": by_hand({
        "base": [0.30, 0.50, 0.40], "nsr": [0.40, 0.60, 0.501], "grpo": [0.401, 0.599, 0.50]})})
    assert table.subtest.iloc[-1] == "" and list(table.columns) == claims.COLUMNS
    table = table.set_index("subtest")
    # Bases differ by 20 points, the pairs do not.
    assert table.ours["NSR above base, latent"] == pytest.approx((10 + 10 + 10.1) / 3)
    assert table.verdict["NSR above base, latent"] == table.verdict["NSR as good as GRPO, latent"] == "replicated"
    assert table.verdict["NSR as good as GRPO, search"] == "not run at this scale"


def test_what_was_not_run_is_said():
    table = judge("PSRNSR-C4", by_hand({"base": [0.3, 0.5], "psr": [0.4, 0.61]}))
    assert list(table.verdict[:2]) == ["replicated", "not run at this scale"] and table.verdict.iloc[-1] == "inconclusive"
    assert set(table.verdict[2:-1]) == {"not run at this scale"}  # other k, other rates, another world
    assert set(judge("PSRNSR-C14", None).verdict) == {"not run at this scale"}
    assert set(judge("PSRNSR-C14", {}).verdict) == {"not run at this scale"}


def test_two_seeds_that_differ_alike_decide_nothing():
    row = judge("PSRNSR-C4", by_hand({"base": [0.25, 0.5], "psr": [0.5, 0.75]})).iloc[0]
    assert row.low == row.high == row.ours == 25 and row.verdict == "inconclusive" and "spread" in row.reason
    three = judge("PSRNSR-C4", by_hand({"base": [0.25, 0.5, 0.5], "psr": [0.5, 0.75, 0.75]})).iloc[0]
    assert three.verdict == "replicated"


def test_a_subtest_reads_the_experiment_it_names():
    pairs = by_hand({"grpo": [0.5, 0.51, 0.52], "psr_grpo_seq": [0.4, 0.41, 0.42], "nsr_grpo_seq": [0.4, 0.41, 0.42]})
    named = {test.name: test.experiment for test in CLAIMS["A3PO-C5"].tests()}
    table = judge("A3PO-C5", pairs).set_index("subtest")  # runs without a name are those of the claim's own experiment
    assert {name: table.verdict[name] for name, other in named.items() if other} == dict.fromkeys(
        (name for name, other in named.items() if other), "not run at this scale")
    assert table.verdict["GRPO above PSR"] == table.verdict["GRPO above NSR"] == "replicated"
    assert set(judge("A3PO-C5", {"definitions_latent": pairs}).set_index("subtest").verdict[["GRPO above PSR"]]) == {
        "not run at this scale"}


@pytest.mark.parametrize("name", ["PSRNSR-C12", "LENS-C8", "LENS-C9", "LENS-C14"])
def test_these_need_no_run(name):
    table = judge(name)
    assert set(table.verdict) == {"replicated"} and set(table.scale) == {"any"} and len(table) > 2


def test_a_misspelt_claim_names_its_neighbours():
    with pytest.raises(ConfigError, match="PSRNSR-C1"):
        judge("PSRNSR-C15")


# ---------------------------------------------------------------- primary sub-tests, readings, Holm


def a_claim(*tests: claims.Subtest) -> claims.Claim:
    return claims.Claim("TOY-C1", "A toy.", "psr_nsr_search", "10", "10_toy", tests)


def says(name: str, differences, **more) -> claims.Subtest:
    return claims.Subtest(name, "points", "", lambda runs: claims.is_greater(differences), **more)


UP, DOWN, WIDE = [5.0, 5.1, 4.9, 5.2], [-5.0, -5.1, -4.9, -5.2], [-20.0, 20, -15, 25]


@pytest.fixture
def toy(monkeypatch):
    """toy(subtests ...): their table, judged as a claim."""
    runs = by_hand({"a": [0.5, 0.5]})

    def judged(*tests):
        monkeypatch.setitem(CLAIMS, "TOY-C1", a_claim(*tests))
        return judge("TOY-C1", runs).set_index("subtest")

    yield judged


def test_secondary_subtests_inform_and_cannot_turn_the_word(toy):
    table = toy(says("first", UP, primary=True), says("second", DOWN))
    assert (table.verdict["second"], table.verdict[""]) == ("differs here", "replicated")
    assert toy(says("first", UP), says("second", DOWN)).verdict[""] == "differs here"  # none named: all decide


@pytest.mark.parametrize("choice", ["rate", "definition"])
def test_a_reading_on_the_other_side_is_said(toy, choice):
    table = toy(says("own", UP, primary=True), says("other", DOWN, reading_of="own", choice=choice))
    assert table.verdict["own"] == table.verdict[""] == f"depends on the {choice}"
    assert "other: differs here" in table.reason["own"]
    undecided = toy(says("own", UP, primary=True), says("other", WIDE, reading_of="own", choice=choice))
    assert undecided.verdict["own"] == "replicated"  # the sign has not changed


def test_words_that_do_not_survive_holm_are_taken_back(toy, monkeypatch):
    weak = [1.0, 3.0, 2.0, 4.1, 0.2]  # p about 0.03: alone enough, not among three
    tables = {"TOY-C1": toy(says("weak", weak, primary=True), says("also", [x + 0.1 for x in weak], primary=True),
                            says("none", WIDE, primary=True), says("aside", weak)).reset_index()}
    assert list(tables["TOY-C1"].verdict[:4]) == ["replicated", "replicated", "inconclusive", "replicated"]
    found = claims.after_holm(tables)["TOY-C1"].set_index("subtest")
    assert found.verdict["weak"] == "inconclusive" and "Holm over the paper's 3 primary" in found.reason["weak"]
    assert found.p_holm["weak"] > 0.05 > found.p["weak"]
    assert found.verdict["aside"] == "replicated" and np.isnan(found.p_holm["aside"])
    assert found.verdict[""] == "inconclusive" and claims.after_holm({}) == {}
    tables["TOY-C1"].loc[0, "verdict"] = "depends on the rate"  # a word that a reading has turned hangs on the same test
    assert claims.after_holm(tables)["TOY-C1"].verdict[0] == "inconclusive"


def test_seeds_and_problems_are_resampled_beside_the_interval():
    # Two problems, three seeds; a solves both in all samples, b one of them.
    rows = [{"set": "test", "arm": arm, "seed": seed, "samples": 4, "correct": right, "level": 1}
            for seed in range(3) for arm, rights in (("a", (4, 4)), ("b", (4, 0))) for right in rights]
    runs = Runs(by_hand({"a": [1.0, 1, 1], "b": [0.5, 0.5, 0.5]}).metrics, pd.DataFrame(rows), pd.DataFrame(), [])
    gaps = claims.by_problem(runs, "a", "b", 1)
    assert [gap.tolist() for gap in gaps] == [[0, 100]] * 3
    found = claims.compare(claims.is_greater, "a", "b", "test/pass@1")(runs)
    low, high = found.resampled
    assert 0 < low < 50 < high < 100 and found.interval.estimate == 50


# ---------------------------------------------------------------- every claim, on runs that are made up
#
# Arms come from the experiments and metrics from a real run, so a claim that misspells either
# finds nothing to read and says "not run".


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> dict[str, set[int]]:
    """metric -> the steps at which a run of two steps records it."""
    start = StartConfig("chain_zero", "smoke", 2, 0, batch=4)
    config = RunConfig("grpo", "chain", start, 0, steps=2, learning_rate=1e-4, prompts_per_step=2, rollouts_per_prompt=2,
                       pool_size=2, curve_every=1, curve_problems=1, curve_samples=1, final_problems=2, final_samples=2)
    metrics = train(config, RunFolder("run", {}, tmp_path_factory.mktemp("claims")), device="cpu")["metrics"]
    steps = {metric: set(rows.step) for metric, rows in metrics.groupby("metric")}
    few, policy = config.but(final_samples=16), prepare(config, "cpu").policy
    stored = {metric: {"drift"} for metric in ("drift/right", "drift/wrong", "drift/per_token")}  # of runs on stored answers
    watched = {metric: {"watched"} for name in WATCHES for metric in WATCHES[name](
        hand_made([True, False], [0, 0], [3, 3]), torch.zeros(2, 3))}
    return steps | stored | watched | {metric: {name} for name in PROBES for metric in PROBES[name](policy, few)}


def steps_of(recorded, config) -> dict[str, list[int]]:
    """The metrics a run of this configuration has, and the steps at which it has them."""
    found, points = {}, sorted({*range(0, config.steps + 1, config.curve_every), config.steps})
    for metric, when in recorded.items():
        if metric.endswith("pass@1") and metric.partition("/")[0] in ("test", "pool", "validation"):
            name = metric.partition("/")[0]
            samples = {"test": config.final_samples, "pool": min(16, config.final_samples), "validation": config.curve_samples}
            steps = points if name == "validation" else [config.steps]
            found |= {f"{name}/pass@{k}": steps for k in powers_of_two(samples[name])}
        elif metric.startswith("cool/pass@"):
            if "cool" in config.probes:
                found |= {f"cool/pass@{k}": [config.steps] for k in powers_of_two(min(64, config.final_samples))}
        elif "pass@" in metric and not metric.startswith(("shifted/", "attack/", "tight/")):
            continue
        elif when == {"watched"}:
            found |= {metric: list(range(config.steps))} if config.watches and config.steps else {}
        elif when <= set(PROBES):
            found |= {metric: [config.steps]} if when <= set(config.probes) else {}
        elif 0 in when:
            found[metric] = points
        elif 1 in when:  # a mean since the last curve point: none at step 0
            found |= {metric: points[1:]} if config.steps else {}
        else:
            found[metric] = [config.steps]
    return found


@pytest.fixture(scope="module")
def made_up(recorded):
    """made_up("psr_nsr_search"): three seeds of all its arms, every metric between 0.1 and 0.5."""

    @functools.cache
    def make(name: str) -> Runs:
        rng, metrics, problems = np.random.default_rng(0), [], []
        for arm in experiment(name, seeds=3):
            when = steps_of(recorded, arm.config)
            pairs = [(step, metric) for metric, steps in when.items() for step in steps]
            label = {"experiment": name, "arm": arm.name, "seed": arm.seed, "run": arm.config.hash, "scale": arm.scale}
            metrics.append(pd.DataFrame(pairs, columns=["step", "metric"]).assign(
                value=rng.uniform(0.1, 0.5, len(pairs)), **label))
            solved = rng.integers(0, arm.config.final_samples, 5) * [0, 1, 1, 1, 1]  # the first is too hard for everybody
            problems.append(pd.DataFrame({"set": "test", "level": range(1, 6), "samples": arm.config.final_samples,
                                          "correct": solved}).assign(**label))
        return Runs(pd.concat(metrics, ignore_index=True), pd.concat(problems, ignore_index=True), pd.DataFrame(), [])

    return make


def only(runs: Runs, keep) -> Runs:
    """The runs for which keep(table) is true."""
    return Runs(runs.metrics[keep(runs.metrics)], runs.problems[keep(runs.problems)], runs.rollouts, [])


def with_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Without readings at rates that nobody has found yet: there are no such arms until `tune` has been run."""
    waiting = table.subtest.str.endswith("; own rates") if untuned() else pd.Series(False, index=table.index)
    return table[~waiting]


def read_by(claim) -> set[str]:
    """The experiments that a claim reads."""
    return {test.experiment or claim.experiment for test in claim.tests()}


@pytest.mark.parametrize("name", WITH_RUNS)
def test_every_claim_finds_the_arms_and_metrics_it_reads(name, made_up):
    table = with_rates(judge(name, {e: made_up(e) for e in read_by(CLAIMS[name])}))
    assert "not run at this scale" not in set(table.verdict)
    assert set(table.seeds) == {3} and table.ours[:-1].notna().all()
    assert set(table.verdict) <= set(claims.VERDICTS) and table.reason.str.len().min() > 0


@pytest.mark.parametrize("name", WITH_RUNS)
def test_one_seed_settles_no_claim(name, made_up):
    table = with_rates(judge(name, {e: only(made_up(e), lambda t: t.seed == 0) for e in read_by(CLAIMS[name])}))
    assert set(table.verdict) == {"inconclusive"}


@pytest.mark.parametrize("name", WITH_RUNS)
@pytest.mark.parametrize("first", [0, 1])
def test_a_claim_can_be_judged_while_its_runs_are_being_made(name, first, made_up):
    # Of every second arm, the last seed is missing.
    unfinished = {}
    for e in read_by(CLAIMS[name]):
        late = list(dict.fromkeys(a.name for a in experiment(e)))[first::2]
        unfinished[e] = only(made_up(e), lambda t: ~((t.seed == 2) & t.arm.isin(late)))
    table = with_rates(judge(name, unfinished))
    assert "not run at this scale" not in set(table.verdict) and set(table.seeds) <= {2, 3}


# ---------------------------------------------------------------- the list of claims


def test_every_claim_of_the_cards_is_there():
    assert {f"{paper}-C{i}" for paper in ("PSRNSR", "A3PO", "LENS", "DISSECT") for i in range(1, 15)} <= set(CLAIMS)
    assert {f"OURS-{i}" for i in range(1, 7)} <= set(CLAIMS)
    everything = [claim for paper in papers() for claim in paper.part("claims", "CLAIMS", ())]
    assert len(CLAIMS) == len(everything)  # no name twice


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_says_where_it_comes_from_and_where_it_is_shown(claim):
    assert claim.says.endswith(".") and claim.world
    assert claim.paper == {"PSRNSR": "arXiv 2506.01347", "A3PO": "arXiv 2512.21625", "LENS": "arXiv 2510.08696",
                           "DISSECT": "arXiv 2506.04913", "BCPG": "arXiv 2505.14403",
                           "PRACTICE": "Disputes from public threads", "OURS": "ours"}[claim.name.partition("-")[0]]
    assert claim.figure.startswith(f"{claim.notebook}_")
    assert read_by(claim) - {""} <= set(EXPERIMENTS)
    if claim.experiment:
        assert claim.notebook in EXPERIMENTS[claim.experiment].notebooks
    names = [test.name for test in claim.tests()]
    assert len(set(names)) == len(names) and claim.needed <= len(names)


def test_a_finding_without_runs_has_no_numbers():
    found = claims.absent("no runs")
    assert isinstance(found, Finding) and found.interval.n == 0 and np.isnan(found.interval.estimate)
    assert found.verdict == "not run at this scale"


def test_every_item_of_the_paper_has_a_line_that_points_somewhere():
    table = pd.read_csv(ROOT / "data" / "figures.csv", keep_default_na=False)
    drawn = {"reproduced", "schematic redrawn", "outside number"}
    assert set(table.status) <= {*drawn, "checked", "content unknown", "out of scope", "not run yet"}
    made = table[table.status != "not run yet"]
    assert made[made.status.isin(drawn)].ours.all()
    missing = [n for n in made.ours if n and not (ROOT / "figures" / f"{n}.png").exists()]
    assert not missing


# ---------------------------------------------------------------- the committed table


def test_a_notebook_says_what_the_table_of_all_claims_says():
    """Holm runs over the whole paper, so a notebook must look beyond its own runs."""
    found = claims.judge_notebook("51", {}, "tiny")
    committed = pd.read_csv(published_root() / "claims.csv", keep_default_na=False)
    committed = committed[committed.claim.isin(found.claim)]
    assert found.verdict.tolist() == committed.verdict.tolist() and found.reason.str.contains("not after Holm").any()


def test_a_language_model_has_few_experiments_and_its_notebook_is_judged_by_those():
    assert set(claims.judge_notebook("10", {}, "paper:x").verdict) <= {"not run at this scale", "replicated"}


def test_the_committed_runs_give_the_committed_table():
    """Cell by cell and in the same order: a claim, a rule or an arm that has changed shows here."""

    @functools.cache
    def runs(name: str) -> Runs:
        return load_finished(experiment(name, "all", "tiny", EXPERIMENTS[name].seeds))

    found = judge_all({e: runs(e) for claim in CLAIMS.values() for e in read_by(claim) if e})
    committed = pd.read_csv(published_root() / "claims.csv", keep_default_na=False, na_values={c: [""] for c in NUMBERS},
                            dtype={"notebook": str})
    assert [*found.columns, "rule", "rule_commit", "rule_older"] == list(committed.columns) and len(found) == len(committed) > 200
    for column in found.columns:
        ours, theirs = found[column], committed[column]
        if column in NUMBERS:
            np.testing.assert_allclose(ours.astype(float), theirs.astype(float), rtol=1e-9, err_msg=column)
        else:
            assert ours.fillna("").astype(str).tolist() == theirs.astype(str).tolist(), column
