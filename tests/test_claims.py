"""The rules that judge claims, on numbers where the verdict is plain to see; and every claim, on made-up runs."""

import functools

import numpy as np
import pandas as pd
import pytest

from polarity_lib import claims, rules
from polarity_lib.arms import BASELINES, EXPERIMENTS
from polarity_lib.claims import CLAIMS, judge
from polarity_lib.config import ConfigError, RunConfig, StartConfig
from polarity_lib.evaluation import powers_of_two
from polarity_lib.experiments import Runs, experiment
from polarity_lib.probes import PROBES
from polarity_lib.results import ROOT, RunFolder
from polarity_lib.rules import Finding, each_above, relative_area, relative_final
from polarity_lib.training import prepare, train

NOISE = np.array([-0.1, 0.1, -0.05, 0.05])  # four seeds that hardly differ
WITH_RUNS = [name for name, claim in CLAIMS.items() if claim.experiment]


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize("shift, verdict", [(5, "replicated"), (-5, "contradicted"), (0, "no effect")])
def test_is_greater(shift, verdict):
    assert rules.is_greater(shift + NOISE).verdict == verdict


def test_is_less_is_its_mirror():
    found = rules.is_less(NOISE - 5)
    assert found.verdict == "replicated"
    assert found.interval.estimate == pytest.approx(-5) and found.interval.low < -5 < found.interval.high
    assert rules.is_less(NOISE + 5).verdict == "contradicted"


def test_wide_intervals_settle_nothing():
    for rule in (rules.is_greater, rules.is_less, rules.is_equivalent, rules.is_not_worse):
        assert rule([-20, 20, -15, 25]).verdict == "inconclusive"


@pytest.mark.parametrize("shift, equal, not_worse", [
    (0, "replicated", "replicated"),
    (-2, "replicated", "replicated"),  # inside the margin of 3
    (-6, "contradicted", "contradicted"),
    (6, "contradicted", "replicated"),  # better is not worse
])
def test_as_good_as(shift, equal, not_worse):
    assert rules.is_equivalent(shift + NOISE).verdict == equal
    assert rules.is_not_worse(shift + NOISE).verdict == not_worse


def test_a_margin_is_an_argument():
    assert rules.is_greater(NOISE, margin=0.01).verdict == "inconclusive"
    assert rules.is_equivalent(NOISE - 6, margin=10.0).verdict == "replicated"
    assert rules.is_not_worse(NOISE - 6, margin=10.0).verdict == "replicated"


def test_one_seed_gives_no_interval():
    for rule in (rules.is_greater, rules.is_less, rules.is_equivalent, rules.is_not_worse):
        assert rule([5.0]).verdict == "inconclusive"


def test_an_order_is_judged_over_all_its_arms():
    rising = np.array([[1, 2, 3], [1.1, 2.2, 3.1], [0.9, 2.1, 3.3], [1, 2.1, 2.9]])
    assert rules.is_ordered(rising, ["a", "b", "c"]).verdict == "replicated"
    assert rules.is_ordered(rising[:, ::-1], ["c", "b", "a"]).verdict == "contradicted"
    assert "a (1.0) < b (2.1)" in rules.is_ordered(rising, ["a", "b", "c"]).reason


@pytest.mark.parametrize("verdicts, needed, whole", [
    (["replicated", "replicated"], 0, "replicated"),
    (["replicated", "contradicted"], 0, "contradicted"),
    (["replicated", "inconclusive"], 0, "inconclusive"),
    (["no effect", "no effect"], 0, "no effect"),
    (["not run at this scale"], 0, "not run at this scale"),
    (["replicated", "not run at this scale"], 0, "inconclusive"),
    # "at least two of three"
    (["replicated", "replicated", "inconclusive"], 2, "replicated"),
    (["replicated", "replicated", "no effect"], 2, "replicated"),
    (["replicated", "inconclusive", "inconclusive"], 2, "inconclusive"),
    (["replicated", "replicated", "contradicted"], 2, "contradicted"),
    (["inconclusive"] * 3, 2, "inconclusive"),
])
def test_roll_up(verdicts, needed, whole):
    word, reason = rules.roll_up(verdicts, needed)
    assert word == whole
    assert all(f"{verdicts.count(v)} {v}" in reason for v in verdicts)
    assert reason.startswith("partly") == (whole != "replicated" and "replicated" in verdicts)


# ---------------------------------------------------------------- reading runs, with a pencil


def curves(values: dict[str, list[list[float]]], metric="test/pass@1") -> Runs:
    """Runs with one metric: per arm a list per seed, one value per step 0, 10, 20, ..."""
    rows = [{"experiment": "psr_nsr", "arm": arm, "seed": s, "run": f"{arm}{s}", "scale": "tiny", "step": 10 * t,
             "metric": metric, "value": v}
            for arm, seeds in values.items() for s, curve in enumerate(seeds) for t, v in enumerate(curve)]
    return Runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), arms=[])


def by_hand(final: dict[str, list[float]]) -> Runs:
    """One metric, test/pass@1, at one step; a value per seed."""
    return curves({arm: [[v] for v in values] for arm, values in final.items()})


def test_areas_and_ends_of_curves():
    runs = curves({"a": [[1, 2, 3], [2, 2, 5]], "b": [[1, 1, 2], [4, 4, 4]]}, "x")
    # Means over training: a 2 and 3, b 4/3 and 4. Ends: a 3 and 5, b 2 and 4.
    assert relative_area(runs, "a", "b", "x") == pytest.approx([50, -25])
    assert relative_final(runs, "a", "b", "x") == pytest.approx([50, 25])
    assert rules.difference(runs, "a", "b", "x", scale=1.0) == pytest.approx([1, 1])
    assert rules.at_step(runs, "x", 1.0, width=2)["a"].tolist() == [2.5, 3.5]
    assert rules.at_step(runs, "x", 0.25, width=2)["a"].tolist() == [1.5, 2]  # never fewer points than `width`


def test_a_seed_that_one_arm_lacks_is_left_out_of_the_pairs():
    runs = curves({"a": [[1, 2, 3], [2, 2, 5]], "b": [[1, 1, 2]]}, "x")
    assert relative_area(runs, "a", "b", "x") == pytest.approx([50])
    assert rules.difference(runs, "a", "b", "x", scale=1.0) == pytest.approx([1])


def test_above_each_of_several_with_one_simultaneous_interval():
    # a - b = 5, 6, 7 points; a - c = -1, 0, 1. Three seeds, so the bound is Bonferroni's over two:
    # t(0.9875, 2 degrees of freedom) = 6.205 times 1 / sqrt(3), where one comparison alone has 4.303.
    runs = by_hand({"a": [0.50, 0.52, 0.54], "b": [0.45, 0.46, 0.47], "c": [0.51, 0.52, 0.53]})
    above, level = (each_above("a", ("b", "c"), "test/pass@1", other)(runs) for other in ("b", "c"))
    assert (above.interval.estimate, above.interval.low) == pytest.approx((6, 6 - 6.205 / 3**0.5), abs=1e-3)
    assert above.verdict == "replicated"
    assert level.interval.high == pytest.approx(6.205 / 3**0.5, abs=1e-3) and level.verdict == "inconclusive"
    assert each_above("b", ("a", "c"), "test/pass@1", "a")(runs).verdict == "contradicted"
    assert each_above("a", ("b", "c"), "test/pass@1", "c", margin=4.0)(runs).verdict == "no effect"


def test_above_each_with_one_seed_or_with_a_seed_missing():
    one = by_hand({"a": [0.5], "b": [0.4], "c": [0.3]})
    assert each_above("a", ("b", "c"), "test/pass@1", "b")(one).verdict == "inconclusive"
    short = by_hand({"a": [0.50, 0.52, 0.54], "b": [0.45, 0.46, 0.47], "c": [0.51, 0.52]})
    found = each_above("a", ("b", "c"), "test/pass@1", "b")(short)
    assert found.interval.n == 2 and found.interval.estimate == pytest.approx(5.5)


def cells_of_tokens(flipped: tuple[str, ...] = ()) -> Runs:
    """Entropy 20 % up or down as A3PO-C10 predicts, three seeds; the arms of `flipped` go the other way."""
    arms = {"none": [[1.0]] * 3}
    for prefix, raising, scales in (("", ("right_low", "wrong_high"), (0.2, 0.5, 2.0, 5.0)),
                                    ("entropy/", ("right_high", "wrong_low"), (0.2, 5.0))):
        for cell in ("right_low", "right_high", "wrong_low", "wrong_high"):
            for scale in scales:
                arm = f"{prefix}{cell}x{scale:g}"
                up = ((cell in raising) == (scale > 1)) != (arm in flipped)
                arms[arm] = [[1 + (0.2 if up else -0.2) + noise] for noise in (-0.01, 0, 0.01)]
    return curves(arms, "validation/entropy")


def test_signs_are_counted_and_one_that_is_significantly_wrong_is_too_many():
    by_probability, by_entropy, whole = judge("A3PO-C10", cells_of_tokens()).to_dict("records")
    assert (by_probability["verdict"], by_probability["ours"]) == ("replicated", 16)
    assert (by_entropy["verdict"], by_entropy["ours"], whole["verdict"]) == ("replicated", 8, "replicated")
    one_off = judge("A3PO-C10", cells_of_tokens(("right_lowx2",))).iloc[0]
    assert one_off.verdict == "inconclusive" and "significantly opposite: right_low x2;" in one_off.reason
    most = tuple(f"{cell}x{scale}" for cell in ("right_low", "right_high", "wrong_low") for scale in ("0.2", "0.5", "5"))
    assert judge("A3PO-C10", cells_of_tokens(most)).iloc[0].verdict == "contradicted"


def test_the_named_cells_are_compared_at_their_weaker_and_the_others_at_their_stronger():
    arms = {"none": [1.0, 1.0, 1.0], "right_lowx5": [1.5, 1.6, 1.5], "wrong_highx5": [1.4, 1.4, 1.6],
            "right_highx5": [0.9, 0.9, 0.9], "wrong_lowx5": [1.1, 1.0, 0.8]}
    runs = curves({arm: [[v] for v in values] for arm, values in arms.items()}, "validation/entropy")
    found = judge("A3PO-C11", runs).iloc[0]
    assert found.ours == pytest.approx((30 + 40 + 60) / 3) and found.verdict == "replicated"


def test_checks_turn_a_table_into_subtests_that_need_no_run():
    table = pd.DataFrame({"subtest": ["holds", "fails"], "ours": [1e-9, 0.5], "tolerance": [1e-6, 0.1],
                          "passed": [True, False]})
    holds, fails = rules.checks(lambda: table, "largest error")
    assert (holds.name, holds.metric, holds.find(None).verdict) == ("holds", "largest error", "replicated")
    assert fails.find(None).verdict == "contradicted" and fails.find(None).interval.estimate == 0.5
    assert "0.1" in fails.find(None).reason


# ---------------------------------------------------------------- judging


def test_judge_reads_shares_as_points_and_pairs_by_seed():
    table = judge("PSRNSR-C1", by_hand({
        "base": [0.30, 0.50, 0.40], "nsr": [0.40, 0.60, 0.501], "grpo": [0.401, 0.599, 0.50]}))
    above, equal, whole = table.to_dict("records")
    assert above["ours"] == pytest.approx((10 + 10 + 10.1) / 3)  # bases differ by 20 points, the pairs do not
    assert (above["verdict"], equal["verdict"], whole["verdict"]) == ("replicated",) * 3
    assert whole["subtest"] == "" and list(table.columns) == rules.COLUMNS


def test_what_was_not_run_is_said():
    table = judge("PSRNSR-C4", by_hand({"base": [0.3, 0.5], "psr": [0.4, 0.6]}))
    assert list(table.verdict) == ["replicated", "not run at this scale", "not run at this scale", "inconclusive"]
    assert set(judge("PSRNSR-C14", None).verdict) == {"not run at this scale"}
    assert set(judge("PSRNSR-C14", {}).verdict) == {"not run at this scale"}


def test_a_subtest_reads_the_experiment_it_names():
    pairs = by_hand({"grpo": [0.5, 0.51, 0.52], "psr_grpo_seq": [0.4, 0.41, 0.42], "nsr_grpo_seq": [0.4, 0.41, 0.42]})
    table = judge("A3PO-C5", {"definitions": pairs}).set_index("subtest")
    for name in ("GRPO above PSR, countdown3", "GRPO above NSR, countdown3"):
        assert (table.verdict[name], table.world[name], table.scale[name]) == ("replicated", "countdown3", "tiny")
    assert set(table.verdict[[i for i in table.index if "chain" in i]]) == {"not run at this scale"}
    assert table.verdict[""] == "inconclusive" and table.reason[""].startswith("partly")
    # Runs that come without a name are those of the claim's own experiment.
    assert set(judge("A3PO-C5", pairs).set_index("subtest").verdict[["GRPO above PSR, countdown3"]]) == {
        "not run at this scale"}


@pytest.mark.parametrize("name", ["PSRNSR-C12", "LENS-C8", "LENS-C9", "LENS-C14"])
def test_these_need_no_run(name):
    table = judge(name)
    assert set(table.verdict) == {"replicated"} and set(table.scale) == {"any"} and len(table) > 2


def test_a_misspelt_claim_names_its_neighbours():
    with pytest.raises(ConfigError, match="PSRNSR-C1"):
        judge("PSRNSR-C15")


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
    return steps | {metric: {name} for name in PROBES for metric in PROBES[name](policy, few)}


def steps_of(recorded, config) -> dict[str, list[int]]:
    """The metrics a run of this configuration has, and the steps at which it has them."""
    found, points = {}, sorted({*range(0, config.steps + 1, config.curve_every), config.steps})
    for metric, when in recorded.items():
        if metric.endswith("pass@1") and metric.partition("/")[0] in ("test", "pool", "validation"):
            name = metric.partition("/")[0]
            samples = {"test": config.final_samples, "pool": min(16, config.final_samples), "validation": config.curve_samples}
            steps = points if name == "validation" else [config.steps]
            found |= {f"{name}/pass@{k}": steps for k in powers_of_two(samples[name])}
        elif "pass@" in metric and not metric.startswith("shifted/"):
            continue
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
    """made_up("psr_nsr"): three seeds of all its arms, every metric between 0.1 and 0.5."""

    @functools.cache
    def make(name: str) -> Runs:
        rng, metrics, problems = np.random.default_rng(0), [], []
        for arm in experiment(name, seeds=3):
            when = steps_of(recorded, arm.config)
            pairs = [(step, metric) for metric, steps in when.items() for step in steps]
            label = {"experiment": name, "arm": arm.name, "seed": arm.seed, "run": arm.config.hash, "scale": arm.scale}
            metrics.append(pd.DataFrame(pairs, columns=["step", "metric"]).assign(
                value=rng.uniform(0.1, 0.5, len(pairs)), **label))
            problems.append(pd.DataFrame({"set": "test", "level": range(1, 6), "samples": arm.config.final_samples,
                                          "correct": rng.integers(0, arm.config.final_samples, 5)}).assign(**label))
        return Runs(pd.concat(metrics, ignore_index=True), pd.concat(problems, ignore_index=True), pd.DataFrame(), [])

    return make


def only(runs: Runs, keep) -> Runs:
    """The runs for which keep(table) is true."""
    return Runs(runs.metrics[keep(runs.metrics)], runs.problems[keep(runs.problems)], runs.rollouts, [])


def read_by(claim) -> set[str]:
    """The experiments that a claim reads."""
    return {test.experiment or claim.experiment for test in claim.tests()}


@pytest.mark.parametrize("name", WITH_RUNS)
def test_every_claim_finds_the_arms_and_metrics_it_reads(name, made_up):
    table = judge(name, {e: made_up(e) for e in read_by(CLAIMS[name])})
    assert "not run at this scale" not in set(table.verdict)
    assert set(table.seeds) == {3} and table.ours[:-1].notna().all()
    assert set(table.verdict) <= set(rules.VERDICTS) and table.reason.str.len().min() > 0


@pytest.mark.parametrize("name", WITH_RUNS)
def test_one_seed_settles_no_claim(name, made_up):
    table = judge(name, {e: only(made_up(e), lambda t: t.seed == 0) for e in read_by(CLAIMS[name])})
    assert set(table.verdict) == {"inconclusive"}


@pytest.mark.parametrize("name", WITH_RUNS)
@pytest.mark.parametrize("first", [0, 1])
def test_a_claim_can_be_judged_while_its_runs_are_being_made(name, first, made_up):
    # Of every second arm, the last seed is missing.
    unfinished = {}
    for e in read_by(CLAIMS[name]):
        late = list(dict.fromkeys(a.name for a in experiment(e)))[first::2]
        unfinished[e] = only(made_up(e), lambda t: ~((t.seed == 2) & t.arm.isin(late)))
    table = judge(name, unfinished)
    assert "not run at this scale" not in set(table.verdict) and set(table.seeds) <= {2, 3}


# ---------------------------------------------------------------- the list of claims


def test_every_claim_of_the_cards_is_there():
    assert {f"{paper}-C{i}" for paper in ("PSRNSR", "A3PO", "LENS") for i in range(1, 15)} <= set(CLAIMS)
    assert {f"OURS-{i}" for i in range(1, 7)} <= set(CLAIMS)
    everything = (*claims.PSR_NSR, *claims.A3PO, *claims.LENS)
    assert len(CLAIMS) == len(everything)  # no name twice


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_says_where_it_comes_from_and_where_it_is_shown(claim):
    assert claim.says.endswith(".") and claim.world
    assert claim.paper == {"PSRNSR": "arXiv 2506.01347", "A3PO": "arXiv 2512.21625", "LENS": "arXiv 2510.08696",
                           "OURS": "ours"}[claim.name.partition("-")[0]]
    assert claim.figure.startswith(f"{claim.notebook}_")
    assert read_by(claim) - {""} <= set(EXPERIMENTS)
    if claim.experiment:
        assert claim.notebook == EXPERIMENTS[claim.experiment].notebook
    names = [test.name for test in claim.tests()]
    assert len(set(names)) == len(names) and claim.needed <= len(names)


def test_a_finding_without_runs_has_no_numbers():
    found = rules.absent("no runs")
    assert isinstance(found, Finding) and found.interval.n == 0 and np.isnan(found.interval.estimate)
    assert found.verdict == "not run at this scale"


def test_every_item_of_the_paper_has_a_line_that_points_somewhere():
    table = pd.read_csv(ROOT / "data" / "figures.csv", keep_default_na=False)
    assert set(table.status) <= {"reproduced", "schematic redrawn", "values unverified", "out of scope", "not run yet"}
    made = table[table.status != "not run yet"]
    missing = [n for n in made.ours if n and not (ROOT / "figures" / f"{n}.png").exists()]
    assert not missing


# What a claim quotes from its paper, and the cells of data/papers.csv it is the difference of.
SOURCES = [("PSRNSR-C1", "NSR above base", "Table 1", "nsr", "base", ["MATH pass@1"]),
           ("PSRNSR-C1", "NSR as good as GRPO", "Table 1", "nsr", "grpo", ["MATH pass@1"]),
           ("PSRNSR-C2", "NSR not below base at 256", "Table 1", "nsr", "base", ["MATH pass@256"]),
           ("PSRNSR-C4", "PSR above base at 1", "Table 1", "psr", "base", ["MATH pass@1"]),
           ("PSRNSR-C4", "PSR below base at 256", "Table 1", "psr", "base", ["MATH pass@256"]),
           ("PSRNSR-C6", "not below base at 256", "Table 1", "w_reinforce", "base", ["MATH pass@256"]),
           ("PSRNSR-C7", "flat to 0.2 at 256", "Table 4", "lambda=0.2", "lambda=0", ["MATH pass@256"]),
           ("PSRNSR-C7", "falls per decade at 256", "Table 4", "lambda=1", "lambda=0.2", ["MATH pass@256"])]
SOURCES += [("A3PO-C13", f"above {m}, chain", "Table 2", "a3po", m, ["Qwen2.5-7B-Math", "Qwen3-8B-Base", "R1-Distill-Qwen-7B"])
            for m in BASELINES]
SOURCES += [("LENS-C1", f"k = {k}", "Table 1", "lens", "grpo", [f"Llama pass@{k}", f"Qwen pass@{k}"]) for k in (1, 2, 4, 8, 16)]
SOURCES += [("LENS-C2", f"chain_hard, test/pass@{k}", "Table 3", "lens", "grpo", [f"Llama pass@{k}", f"Qwen pass@{k}"])
            for k in (1, 16)]
SOURCES += [("LENS-C5", "negative groups alone above GRPO", "Table 2", "negative only", "grpo", ["Llama pass@1"]),
            ("LENS-C5", "mixed groups alone above GRPO", "Table 2", "mixed only", "grpo", ["Llama pass@1"])]


@pytest.mark.parametrize("claim, subtest, table, left, right, columns", SOURCES)
def test_quoted_differences_are_those_of_the_papers_tables(claim, subtest, table, left, right, columns):
    cells = pd.read_csv(ROOT / "data" / "papers.csv")
    cells = cells[(cells.paper == CLAIMS[claim].paper) & (cells.table == table)].set_index(["row", "column"]).value
    quoted = next(test.theirs for test in CLAIMS[claim].tests() if test.name == subtest)
    digits = len(quoted.split()[0].partition(".")[2])
    assert [float(word) for word in quoted.split()] == [round(cells[left, c] - cells[right, c], digits) for c in columns]
