"""The methods in the loop, their options, the experiments' shared runs, the gates' rule, the claims' quotations."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from gradients import counted, differ, gradient_by_hand
from made_up_runs import by_hand, check_quoted

from polarity_lib import training
from polarity_lib.config import ConfigError, OfflineConfig, RunConfig, StartConfig
from polarity_lib.experiments import Arm, Runs, experiment, train_or_load
from polarity_lib.methods import Progress, method_named
from polarity_lib.papers.bcpg_nsa import claims, gates
from polarity_lib.papers.bcpg_nsa.experiments import BETAS, EXPERIMENTS, SHARES
from polarity_lib.papers.bcpg_nsa.methods import NSAOptions, question_weights
from polarity_lib.registry import CLAIMS
from polarity_lib.run import prepare

CHAIN = StartConfig("chain_zero", "smoke", 60, 0, batch=32)
ALL = ("bcpg_nsa", "bcpg", "reinforce_offline", "rft", "dpo", "topr", "grpo_offline", "imitate")


def stored(method, **changes):
    fields = {"world": "chain", "start": CHAIN, "seed": 0, "steps": 2, "learning_rate": 1e-3, "prompts_per_step": 4,
              "rollouts_per_prompt": 4, "curve_every": 2, "curve_problems": 2, "curve_samples": 2, "final_problems": 4,
              "final_samples": 4, "offline": OfflineConfig(16, 4, uniform=True)}  # fmt: skip
    return RunConfig(method=method, **(fields | changes))


# ---------------------------------------------------------------- gradients of the loop


def test_at_the_start_bcpg_is_a_mean_baseline_over_answers(policy, batch, gradient_of):
    """The writer is the policy, so rho is zero and the constraint gives nothing."""
    c = counted(batch)
    weights = [(r - m) / (n * c.N) for r, m, n in zip(c.right, c.mean, c.length)]
    assert differ(gradient_of("bcpg", batch), gradient_by_hand(policy, batch, weights)) < 1e-4


@pytest.mark.parametrize("method, plain", [("bcpg_nsa", "bcpg"), ("first_error", "grpo"), ("from_first_error", "grpo"),
                                           ("sparing", "grpo")])
def test_where_answers_have_no_steps_nothing_is_spared(batch, method, plain):
    """Countdown: an expression is no sequence of steps, so an answer errs as a whole."""
    mine, theirs = (method_named(m).advantage(batch, batch.correct_N.float(), Progress(0, 1)) for m in (method, plain))
    assert torch.equal(mine, theirs)


def test_at_the_start_topr_and_offline_grpo_are_their_online_selves(policy, batch, gradient_of):
    c = counted(batch)
    signs = [s / (n * c.N) for s, n in zip(c.sign, c.length)]
    assert differ(gradient_of("topr", batch), gradient_by_hand(policy, batch, signs)) < 1e-4
    assert differ(gradient_of("grpo_offline", batch), gradient_of("grpo", batch)) < 1e-4


def test_rft_is_the_likelihood_of_right_tokens(policy, batch, gradient_of):
    c = counted(batch)
    assert differ(gradient_of("rft", batch), gradient_by_hand(policy, batch, [r / c.tokens_of[1] for r in c.right])) < 1e-4


def test_dpo_at_the_start_pushes_pairs_apart_alike(policy, batch, gradient_of):
    """-log sigmoid(0) has slope -1/2: beta/2 per pair, over all answers."""
    c = counted(batch)
    signs = method_named("dpo").advantage(batch, batch.correct_N.float(), None)[:, 0].tolist()
    weights = [0.5 / 2 * s / c.N for s in signs]
    assert sum(signs) == 0 and differ(gradient_of("dpo", batch), gradient_by_hand(policy, batch, weights)) < 1e-4


def test_a_wrong_answer_far_from_its_writer_is_held(policy, batch, gradient_of):
    """Written half a nat per token likelier than it is now: rho = -0.5 |y|; the coefficient is r - rbar - tau rho."""
    c, shifted = counted(batch), batch.but(logprobs_NT=batch.logprobs_NT + 0.5 * batch.mask_NT)
    shifted = shifted.but(logprobs_NT=shifted.logprobs_NT.clamp(max=0.0))
    method = replace(method_named("bcpg", {"tau": 0.2}), name="bcpg")
    rho = ((batch.logprobs_NT - shifted.logprobs_NT) * batch.mask_NT).sum(1).tolist()
    weights = [(r - m - 0.2 * x) / (n * c.N) for r, m, n, x in zip(c.right, c.mean, c.length, rho)]
    assert differ(gradient_of(method, shifted), gradient_by_hand(policy, batch, weights)) < 1e-3


@pytest.mark.parametrize("method", ALL)
def test_every_offline_method_trains_on_stored_answers(own_runs, method):
    arms = [Arm("test", "arm", stored(method), "smoke")]
    runs = train_or_load(arms, reuse_published=False, progress=False)
    assert np.isfinite(runs.metrics[runs.metrics.metric == "update/norm"].value).all()
    assert (runs.metrics[runs.metrics.metric == "sampling/drawn"].value == 0).all()


@pytest.mark.parametrize("method, options", [
    ("first_error", {}), ("from_first_error", {}), ("prefix_only", {}), ("sparing", {"select": "random"}),
    ("step_values", {"continuations": 2}), ("nthr", {}), ("nthr", {"graded": True}),
    ("bcpg", {"negatives": "plausible"}), ("dpo", {"negatives": "garbled"}),
])
def test_online_and_rewriting_methods_train(own_runs, method, options):
    offline = stored("rft").offline if "negatives" in options else None
    config = stored(method, offline=offline, options=tuple(options.items()), pool_size=16, steps=1)
    run = prepare(config, "cpu")
    found = training.one_step(run)
    assert np.isfinite(found["update/norm"])
    if method == "step_values":
        assert found["sampling/drawn"] >= 16  # the continuations are counted


# ---------------------------------------------------------------- options and experiments


@pytest.mark.parametrize("options, said", [
    ({"beta": 2.0}, "beta must be between"), ({"tau": -1.0}, "tau must be finite"), ({"judge": "orakle"}, "oracle"),
    ({"select": "godo"}, "good"), ({"penalty": "kl"}, "Unknown penalty"), ({"negatives": "fake"}, "Unknown kind of negatives"),
    ({"betta": 1}, "beta")])
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        method_named("bcpg_nsa", options)


def test_beta_one_asks_no_judge_and_equals_bcpg(batch):
    one, plain = method_named("bcpg_nsa", {"beta": 1.0}), method_named("bcpg")
    rewards = batch.correct_N.float()
    assert torch.equal(one.advantage(batch, rewards, None), plain.advantage(batch, rewards, None))
    assert NSAOptions(judge="noisy", recall=0.8, false_alarm=0.2).make_judge().recall == 0.8


def test_every_question_counts_once():
    weights = question_weights(torch.tensor([True, False, True, True, False]), torch.tensor([0, 0, 0, 1, 1]))
    assert weights.tolist() == [1.5, 0, 1.5, 2, 0]  # sums 3 and 2: the sizes of the groups


def configs(name, scale="tiny"):
    return {arm.name: arm.config for arm in experiment(name, scale=scale, seeds=1)}


@pytest.mark.parametrize("scale", ["smoke", "tiny"])
def test_experiments_share_their_runs_and_their_answers(scale):
    main = configs("bcpg_offline", scale)
    assert configs("bcpg_beta", scale)["beta=0.5"].hash == main["bcpg_nsa"].hash
    assert configs("bcpg_fraction", scale)["bcpg/1"].hash == main["bcpg"].hash
    assert configs("bcpg_negatives", scale)["dpo own"].hash == main["dpo"].hash
    assert len({c.offline for c in main.values()}) == 1 and len({c.steps for c in main.values() if c.steps}) == 1
    assert len(configs("bcpg_beta", scale)) == len(BETAS)


def test_fractions_have_as_many_passes():
    steps = {name: c.steps / c.offline.share for name, c in configs("bcpg_fraction").items()}
    assert len(set(steps.values())) == 1 and {c.offline.share for c in configs("bcpg_fraction").values()} == set(SHARES)


def test_tuning_and_gates_use_seeds_that_no_comparison_uses():
    for name in ("bcpg_rates", "bcpg_taus", "bcpg_gates"):
        assert min(c.seed for c in configs(name).values()) >= 1000
    for name in set(EXPERIMENTS) - {"bcpg_rates", "bcpg_taus", "bcpg_gates"}:
        assert {c.seed for c in configs(name).values()} == {0}


# ---------------------------------------------------------------- gates


def cell(end, start=0.3, collapsed=False):
    return {"start": start, "end": end, "collapsed": collapsed, "seeds": 2}


def test_the_rule_by_hand():
    grid = {1e-5: cell(0.4), 2e-5: cell(0.5), 4e-5: cell(0.5), 8e-5: cell(0.9, collapsed=True)}
    assert gates.best_level(grid) == 2e-5  # a tie goes to the lower rate, a collapsed one is out
    assert gates.chosen(grid, "rate")["at_edge"] is False and gates.chosen({1e-5: cell(0.4)}, "tau")["at_edge"] is True


def test_grids_are_read_off_runs():
    rows = [{"arm": f"bcpg/{rate}", "seed": s, "step": step, "metric": "validation/pass@1", "value": v}
            for rate, values in (("0.0001", (0.4, 0.6)), ("2.5e-05", (0.4, 0.1)))
            for s in (0, 1) for step, v in enumerate(values)]
    grid = gates.grid_of(Runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), arms=[]), "bcpg")
    assert list(grid) == [2.5e-5, 1e-4] and grid[1e-4] == cell(0.6, 0.4) and grid[2.5e-5]["collapsed"]


def made(base, rft, bcpg, nsa, anywhere):
    return by_hand({"base": base, "rft": rft, "bcpg": bcpg, "bcpg_nsa": base + 0.01, "bcpg_nsa anywhere": base,
                    "bcpg_nsa rewarded": nsa, "bcpg_nsa rewarded anywhere": anywhere})


def test_gates_by_hand():
    four = np.array([0.30, 0.31, 0.29, 0.30])
    found = gates.offline_gates(made(four, four + 0.02, four + 0.08, four + [0.15, 0.16, 0.15, 0.16], four + 0.10))
    assert found["moves"] | {"asks": ""} == {"asks": "", "by": "bcpg", "found": {"rft": 2.0, "bcpg": 8.0}, "passed": True}
    assert found["tells tokens apart"]["passed"] and found["tells tokens apart"]["found"][0] == 5.5
    assert gates.labels_minus_random(made(four, four, four, four, four), "bcpg_nsa") == [1.0, 1.0, 1.0]
    flat = gates.offline_gates(made(four, four, four + 0.04, four + [0.0, 0.1, 0.0, 0.1], four + 0.05))
    assert not flat["moves"]["passed"] and not flat["tells tokens apart"]["passed"]


def test_a_failed_try_stays_in_the_table():
    gate = {"asks": "a gain", "found": [0.3, -0.2, 0.8], "passed": False}
    failed = {"tries": [{"gates": {"moves": gate | {"passed": True}, "tells": gate}}], "world": "gems", "rates": {}}
    assert list(gates.gate_table(failed)["try"]) == [1, 1] and not gates.gate_table(failed).passed.all()
    again = gates.gate_table(failed | {"gates": {"tells": gate | {"passed": True}}})
    assert list(zip(again["try"], again.gate, again.passed)) == [(1, "moves", True), (1, "tells", False), (2, "tells", True)]
    assert gates.gate_table({}).empty


def test_a_changed_world_is_tried_again_only_if_it_had_failed(monkeypatch):
    monkeypatch.setattr(gates, "finished", lambda name: None)
    failed = {"world": "gems", "rates": {}, "gates": {}, "admitted": False, "runs": ["of another world"]}
    assert gates.update(failed) == {"world": "gems", "tries": [failed]}
    now = sorted({arm.config.hash for arm in gates.experiment("bcpg_gates", "all", "tiny", 4)})
    for kept in (failed | {"runs": now}, failed | {"admitted": True}):
        assert "tries" not in gates.update(kept | {"taus": {}})


def test_what_is_written_stays(monkeypatch):
    """Later runs were made with the rates that the file has; nothing chosen is chosen again."""
    monkeypatch.setattr(gates, "finished", lambda name: pytest.fail("asked for runs again"))
    record = {"world": "gems", "rates": {"bcpg": {"rate": 1e-4}}, "taus": {"bcpg": {"tau": 0.3}}, "gates": {}}
    assert gates.update(json.loads(json.dumps(record))) == record


# ---------------------------------------------------------------- claims


@pytest.mark.parametrize("subtest, left", [("dpo above RFT", "dpo"), ("topr above RFT", "topr"),
                                           ("grpo_offline above RFT", "grpo_offline"), ("bcpg above RFT", "bcpg"),
                                           ("bcpg_nsa above RFT", "bcpg_nsa")])
def test_quoted_differences_are_those_of_table_3(subtest, left):
    check_quoted("BCPG-C2", subtest, "Table 3", left, "rft", ["Average"])


def test_more_quotations():
    check_quoted("BCPG-C1", "wrong traces above the start", "Table 1", "wrong traces", "base", ["AIME24", "AIME25"])
    check_quoted("BCPG-C1", "right traces above wrong ones", "Table 1", "right traces", "wrong traces", ["AIME24", "AIME25"])
    check_quoted("BCPG-C3", "RFT below the start", "Table 3", "rft", "base", ["Average"])
    check_quoted("BCPG-C4", "BCPG above the best other", "Table 3", "bcpg", "topr", ["Average"])
    check_quoted("BCPG-C5", "NSA above BCPG, two judges agreeing", "Table 3", "bcpg_nsa", "bcpg", ["Average"])
    check_quoted("BCPG-C5", "hard problems", "Table 3", "bcpg_nsa", "bcpg", ["AIME24", "AIME25"])


def test_every_claim_names_one_or_two_primaries():
    for name, claim in CLAIMS.items():
        if name.startswith(("BCPG", "OURS-B")):
            assert 1 <= sum(t.primary for t in claim.tests()) <= 2, name


def test_an_inverted_u_by_hand():
    up = {f"beta={b:g}": [0.5 - 0.1 * b * b + 0.01 * s * b for s in range(4)] for b in BETAS}
    assert claims._concave(by_hand(up)).verdict == "replicated"
    assert claims._interior_above_ends(by_hand(up)).verdict == "replicated"
    line = {f"beta={b:g}": [0.5 + 0.1 * b + 0.001 * s for s in range(4)] for b in BETAS}
    assert claims._interior_above_ends(by_hand(line)).verdict == "differs here"


def test_two_slopes_are_told_apart():
    """Gains that follow precision alone: 2 points per 0.1, nothing per token."""
    gains = {arm: [0.4 + 0.2 * p + 0.001 * s for s in range(4)] for arm, (p, _) in claims.JUDGES.items()}
    runs = by_hand({"bcpg": [0.4, 0.4, 0.4, 0.4]} | gains)
    assert claims._regressed(0, runs).interval.estimate == pytest.approx(2.0, abs=0.01)
    assert claims._regressed(1, runs).interval.estimate == pytest.approx(0.0, abs=0.01)
