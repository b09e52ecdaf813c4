"""Experiments as they are asked for, and rules on runs that nobody trained."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up_runs import curves

from polarity_lib.claims import judge
from polarity_lib.config import SCALES
from polarity_lib.experiments import Runs, experiment
from polarity_lib.papers.dissecting import claims, experiments
from polarity_lib.papers.dissecting.claims import CLAIMS, ELSEWHERE, PROBED, hard_accuracy, hard_gain, interaction, spreads
from polarity_lib.papers.dissecting.experiments import EXPERIMENTS, MAIN, POLARITIES, WORLD, one_rate, untuned
from polarity_lib.papers.dissecting.starts import STARTS, from_start


def merged(*parts: Runs) -> Runs:
    return Runs(pd.concat([p.metrics for p in parts], ignore_index=True), pd.DataFrame(), pd.DataFrame(), arms=[])


# ---------------------------------------------------------------- experiments


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("scale", ["smoke", "tiny", "small"])
def test_every_experiment_can_be_asked_for(name, scale):
    arms = experiment(name, "all", scale, 1)
    assert len({arm.name for arm in arms}) == len(arms)
    for arm in arms:
        assert arm.config.minibatches == 4 or arm.config.steps == 0
        assert not arm.config.matched_to or arm.matched


def test_starts_are_told_apart_by_their_corpus_alone():
    starts = {name: from_start(SCALES["tiny"], name, "base", 0, steps=0).start for name in STARTS}
    assert len({replace(start, mixture=()) for start in starts.values()}) == 1
    assert len({start.name for start in starts.values()}) == len(STARTS)
    right = {"worked", "checked", "direct"}  # texts that are right and mark their answer
    assert {name for name, start in starts.items() if {source for source, _ in start.mixture} == right} == set(STARTS) - {"zero"}
    cold, short, thorough = (dict(starts[name].mixture) for name in ("cold", "cold_short", "thorough"))
    assert short["direct"] > cold["direct"] == thorough["direct"] and thorough["checked"] > 10 * thorough["worked"]
    assert all(sum(weight for _, weight in start.mixture) == pytest.approx(1.0) for start in STARTS.values())


def test_one_rate_means_one_rate():
    for name in ("dissect_polarity", "dissect_pair", "dissect_matched", "dissect_definitions", "dissect_schedules"):
        assert {arm.config.learning_rate for arm in experiment(name, "all", "tiny", 1) if arm.config.steps} == {one_rate(WORLD)}


def test_methods_without_a_rate_of_their_own_are_left_out(monkeypatch):
    rates = {"grpo": {"rate": 1e-4}, "both_polarities": {"rate": 5e-5}, "psr_grpo_tok": {"rate": 2e-5}}
    known = {"worlds": {"latent": rates}}
    monkeypatch.setattr("polarity_lib.experiments.rates_record", lambda: known)
    assert untuned() == ["nsr_grpo_tok"]
    arms = experiments.own_rates(SCALES["tiny"], 0)
    assert set(arms) == {f"{start}/{arm}" for start in MAIN for arm in ("base", "both", "right")}
    assert arms["cold/right"].learning_rate == 2e-5 and arms["cold/both"].learning_rate == 5e-5


def test_arms_that_two_experiments_share_are_one_run():
    main = {arm.name: arm.config.hash for arm in experiment("dissect_polarity", "all", "tiny", 1)}
    for name in ("dissect_matched", "dissect_definitions", "dissect_schedules", "dissect_pair"):
        other = {arm.name: arm.config.hash for arm in experiment(name, "all", "tiny", 1)}
        shared = set(main) & set(other)
        assert shared and all(main[arm] == other[arm] for arm in shared)
    rates = {arm.name: arm.config.hash for arm in experiment("dissect_rates", "all", "tiny", 1)}
    assert all(rates[f"{start}/{arm} x1"] == main[f"{start}/{arm}"] for start in MAIN for arm in POLARITIES)


def test_both_arms_of_the_length_reward_are_one_run_up_to_the_switch():
    arms = experiments.short_answers(SCALES["tiny"], 0)
    first, second = (replace(config, method="", options=()) for config in arms.values())
    assert first == second


# ---------------------------------------------------------------- rules


def test_primary_subtests_and_their_readings():
    primary = {c.name: sum(t.primary for t in c.tests()) for c in CLAIMS}
    wanted = ("C1", "C2", "C3", "C4", "C5", "C8", "C12")
    assert {name.removeprefix("DISSECT-") for name, count in primary.items() if count} == set(wanted)
    assert max(primary.values()) <= 2 and len(CLAIMS) == 14
    for claim in CLAIMS:
        names = {t.name for t in claim.tests()}
        assert all(t.reading_of in names for t in claim.tests() if t.reading_of)
        assert not any(t.theirs for t in claim.tests() if claim.name != "DISSECT-C13")  # the paper's numbers could not be read


def polarity_runs(cold_wrong, zero_wrong, seeds=4, named=lambda arm: arm) -> Runs:
    """pass@1: both is 60 from the cold start and 50 by zero-RL; what wrong only has is given; seeds differ by little."""
    ends = {"cold/base": 0.40, "cold/both": 0.60, "cold/right": 0.58, "cold/wrong": cold_wrong,
            "zero/base": 0.15, "zero/both": 0.50, "zero/right": 0.48, "zero/wrong": zero_wrong}
    return curves({named(arm): [[v + 0.002 * (s % 2) * (arm[-1] == "g")] for s in range(seeds)] for arm, v in ends.items()})


def test_the_interaction_by_hand():
    runs = polarity_runs(cold_wrong=0.60, zero_wrong=0.16)
    found = interaction("test/pass@1")(runs, lambda arm: arm)
    assert found.tolist() == pytest.approx([34.0] * 4)  # (60 - 60) - (16 - 50)


def test_the_headline_is_judged_and_read_again():
    runs = {"dissect_polarity": polarity_runs(0.60, 0.16)}
    rows = judge("DISSECT-C5", runs).set_index("subtest")
    name = next(t.name for t in CLAIMS[4].tests() if t.primary)
    assert rows.verdict[name] == "replicated" and rows.verdict[""] == "replicated"
    runs["dissect_rates"] = polarity_runs(0.20, 0.55, named=lambda arm: f"{arm} x2")
    rows = judge("DISSECT-C5", runs).set_index("subtest")
    assert rows.verdict[f"{name}; rate x2"] == "differs here" and rows.verdict[name] == "depends on the rate"
    runs["dissect_definitions"] = polarity_runs(0.20, 0.55, named=lambda arm: claims._other("constant", arm))
    del runs["dissect_rates"]
    assert judge("DISSECT-C5", runs).set_index("subtest").verdict[name] == "depends on the definition"


def test_zero_rl_by_hand():
    rows = judge("DISSECT-C4", polarity_runs(0.60, 0.16)).set_index("subtest")
    assert rows.ours.iloc[0] == pytest.approx(48 - 15 - 10) and rows.verdict.iloc[0] == "replicated"
    failing = rows[rows.index.str.startswith("zero: wrong only gains no more") & ~rows.index.str.contains(";")].iloc[0]
    assert failing.ours == pytest.approx(16 - 15 - 2 + 0.1) and failing.verdict == "replicated"


def test_matched_and_other_definitions_have_their_own_arms():
    for label, (name, named, _) in ELSEWHERE.items():
        have = {arm.name for arm in experiment(name, "all", "tiny", 1)}
        if label == "own rates":
            continue
        assert {named(f"{start}/{arm}") for start in MAIN for arm in ("both", "right", "wrong")} <= have, label
    assert all(label in ELSEWHERE for label in PROBED)


def counted(arms: dict[str, list[int]], seeds: int = 3, split: str = "test") -> Runs:
    rows = [{"arm": arm, "seed": s, "run": f"{arm}{s}", "set": split, "problem": str(q), "level": 2, "samples": 16, "correct": c}
            for arm, counts in arms.items() for s in range(seeds) for q, c in enumerate(counts)]
    return Runs(pd.DataFrame(), pd.DataFrame(rows), pd.DataFrame(), arms=[])


def test_hard_problems_are_those_the_base_cannot_do():
    runs = counted({"tiny/base": [0, 0, 12], "tiny/none": [4, 0, 12], "tiny/shaped": [4, 8, 1]}, seeds=1)
    assert hard_accuracy(runs, "tiny", "none").tolist() == [12.5] and hard_gain(runs, "tiny").tolist() == [25.0]


def spread_runs(**changes) -> Runs:
    numbers = {"score": 0.5, "problems": 60, "runs": 64, "run_sd": 0.05, "predicted_sd": 0.05, "range": 0.2, "uncertain": 0.3,
               "share_of_uncertain": 0.8, "cut": 0.5, "greedy_down": 0.03, "greedy_up": 0.04, "greedy_inside": 0.9,
               "greedy_bias": 0.05, "greedy_beyond": 3.0, "agree": 0.7} | changes
    rows = []
    for i, (arm, name) in enumerate([("cold/both", "latent"), ("cold/wrong", "latent"), ("cold/both", "latent_padded")]):
        for key, value in numbers.items():
            wobble = 0.1 * i * value if key in ("run_sd", "uncertain") else 0.0
            rows.append(curves({arm: [[value + wobble + 1e-4 * s] for s in range(3)]}, f"spread/{name}/{key}"))
    return merged(*rows)


def test_spread_claims_by_hand():
    assert len(spreads(spread_runs())) == 9
    assert judge("DISSECT-C10", spread_runs()).verdict.iloc[-1] == "replicated"
    assert judge("DISSECT-C10", spread_runs(range=0.01)).verdict.iloc[-1] == "differs here"
    rows = judge("DISSECT-C11", spread_runs()).set_index("subtest")
    assert rows.verdict[""] == "replicated" and rows.ours["they hold over 60 % of the variance"] == pytest.approx(20.0, abs=0.02)
    greedy = judge("DISSECT-C12", spread_runs()).set_index("subtest")
    assert greedy.ours["over 3 % of the problems flip"] == pytest.approx(7 - 3, abs=0.05) and greedy.verdict[""] == "replicated"
    assert greedy.verdict["paraphrases agree on over 90 %"] == "differs here"  # informs, and decides nothing


def test_dead_and_short_by_hand():
    dead = merged(curves({"cold/both": [[0.61], [0.62], [0.60]]}, "dead/8/measured"),
                  curves({"cold/both": [[0.60], [0.62], [0.61]]}, "dead/8/predicted"))
    rows = judge("DISSECT-C7", dead).set_index("subtest")
    assert rows.ours["measured minus predicted"] == pytest.approx(0.0, abs=1e-9)
    assert rows.ours["cold, after both: over half"] == pytest.approx(11.0)
    short = merged(curves({"rlr": [[30], [31], [30]], "verdicts": [[40], [41], [41]]}, "test/length"),
                   curves({"rlr": [[0.80], [0.81], [0.80]], "verdicts": [[0.80], [0.80], [0.81]]}, "test/pass@1"))
    found = judge("DISSECT-C8", short).set_index("subtest")
    assert found.verdict["at least a tenth shorter"] == "replicated" and found.ours["at least a tenth shorter"] < -14
    assert found.verdict["not worse at pass@1"] == "replicated" and found.verdict[""] == "replicated"


def test_runs_without_probes_say_so_and_never_raise():
    bare = polarity_runs(0.6, 0.2)
    for claim in CLAIMS:
        if claim.experiment:
            assert set(judge(claim.name, {claim.experiment: bare}).verdict) <= {
                "not run at this scale", "replicated", "differs here", "no effect", "inconclusive", "depends on the rate"}
    assert np.isnan(judge("DISSECT-C3", bare).ours).all()
