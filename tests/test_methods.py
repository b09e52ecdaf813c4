"""The record, and every method at once through the real loop. The papers' tests have the formulas."""

import inspect
import math
from dataclasses import replace

import pytest
import torch
from gradients import G, P, SEVERAL, differ, plain_logs, with_verdicts

from polarity_lib import training, updates
from polarity_lib.config import ConfigError
from polarity_lib.digests import method_digest
from polarity_lib.methods import NEEDS, Progress, keep_all, keep_right, keep_wrong, method_named, rows_kept
from polarity_lib.papers.baselines import methods as baselines
from polarity_lib.papers.lens.methods import keep_unless_all_right
from polarity_lib.papers.practice.losses import keep_mixed
from polarity_lib.registry import LIMITS, METHODS
from polarity_lib.run import prepare
from polarity_lib.updates import before_update, update
from polarity_lib.verification import Verdict

WITHIN_GROUPS = ["rloo", "grpo", "dr_grpo", "psr_grpo_seq", "nsr_grpo_seq", "psr_grpo_tok", "nsr_grpo_tok",
                 "dapo", "dapo_fork", "lp_reg", "cispo", "gspo", "token_shaped", "a3po", "maxrl", "f_grpo", "qae", "aspo",
                 "grpo_mixed_rows", "grpo_mixed_tokens", "grpo_lower_clip", "grpo_upper_clip", "grpo_sequence_mask",
                 "grpo_constant", "grpo_cut"]
IDLE = ("base", "imitation")  # imitation learns from answers that nobody offers for countdown
FROM_ALL_WRONG = ["lens", "uniform_penalty", "ngrpo"]  # like GRPO, but all-wrong groups teach

# ---------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("name", WITHIN_GROUPS)
def test_uniform_groups_give_comparing_methods_nothing(name, batch, gradient_of):
    uniform = with_verdicts(batch, ([1] * G + [0] * G) * (P // 2)).but(max_new_tokens=64)
    assert (gradient_of(name, uniform) == 0).all()


@pytest.mark.parametrize("name", FROM_ALL_WRONG)
def test_all_wrong_groups_teach_these_and_all_right_ones_do_not(name, batch, gradient_of):
    assert gradient_of(name, with_verdicts(batch, [0] * P * G)).norm() > 1e-4
    assert (gradient_of(name, with_verdicts(batch, [1] * P * G)) == 0).all()


@pytest.mark.parametrize(("name", "rights"), [("psr", 1), ("nsr", 0), ("reinforce", 0), ("reinforce", 1)])
def test_uniform_groups_teach_constants(name, rights, batch, gradient_of):
    assert gradient_of(name, with_verdicts(batch, [rights] * P * G)).norm() > 1e-3
    other = {"psr": 0, "nsr": 1}.get(name)
    if other is not None:  # nothing of the kept polarity: no update at all
        assert (gradient_of(name, with_verdicts(batch, [other] * P * G)) == 0).all()


@pytest.mark.parametrize("name", [n for n in METHODS if n not in IDLE and method_named(n).zero_rows_are_free])
def test_rows_without_advantage_may_be_left_out(name, batch, gradient_of):
    computed = replace(method_named(name), zero_rows_are_free=False)
    assert differ(gradient_of(name, batch), gradient_of(computed, batch)) < 1e-5


@pytest.mark.parametrize("name", [n for n in METHODS if n not in IDLE])
def test_splitting_a_batch_into_passes_changes_nothing(name, batch, gradient_of, monkeypatch):
    whole = gradient_of(name, batch)
    monkeypatch.setattr(updates, "TOKENS_PER_PASS", 9)  # about one rollout at a time, groups torn apart
    assert differ(gradient_of(name, batch), whole) < 1e-5


def test_splitting_with_several_updates_changes_nothing(batch, gradient_of, monkeypatch):
    gentle = SEVERAL | {"learning_rate": 0.1}
    names = ("dapo", "a3po", "lens")
    whole = {name: gradient_of(name, batch, **gentle) for name in names}
    monkeypatch.setattr(updates, "TOKENS_PER_PASS", 40)
    for name in names:
        assert differ(gradient_of(name, batch, **gentle), whole[name]) < 1e-3  # the first update's rounding, grown


# ---------------------------------------------------------------- several updates per batch


def updated(configure, rollouts, name, **changes):
    """An update of a batch; returns the new and the old log-probabilities each token loss was given, and metrics."""
    run = prepare(configure(name, optimizer="sgd", grad_clip=0.0, **changes), "cpu")
    seen, plain = [], run.method.token_loss

    def watched(logp, old, A, mask, extras):
        seen.append((logp.detach().clone(), old.clone()))
        return plain(logp, old, A, mask, extras)

    run.method = replace(run.method, token_loss=watched)
    rewards = run.method.reward(rollouts)
    keep = rows_kept(run.method, rewards, rollouts.group_N)
    advantages = run.method.advantage(rollouts, rewards, Progress(0, 1)) * keep[:, None]
    return seen, update(run, rollouts, advantages, keep, None)


def test_old_logprobs_are_those_before_the_first_update(batch, configure):
    seen, metrics = updated(configure, batch, "reinforce", minibatches=4, learning_rate=0.3)
    assert len(seen) == 4 and metrics["update/skipped"] == 0
    new, old = (torch.cat(x) for x in zip(*seen))  # all rows take part, in order
    assert torch.allclose(old, batch.logprobs_NT, atol=1e-4)
    first = len(seen[0][0])
    assert torch.allclose(new[:first], old[:first], atol=1e-5)
    assert (new[first:] - old[first:]).abs().max() > 0.05
    assert metrics["update/sampler_gap"] < 1e-4


def test_before_the_update_only_its_rows_are_computed(batch, configure):
    rows = torch.arange(P * G) % 3 == 0
    run = prepare(configure("grpo", minibatches=4), "cpu")
    found = before_update(run, batch, rows)
    assert set(found) == {"old_logprobs"}
    assert torch.allclose(found["old_logprobs"][rows], batch.logprobs_NT[rows], atol=1e-4)
    assert (found["old_logprobs"][~rows] == 0).all()
    assert before_update(run, batch, torch.zeros_like(rows)) == {}  # nothing to update
    run = prepare(configure("grpo"), "cpu")
    assert before_update(run, batch, rows) == {}  # one update: the new ones are the old ones


def test_old_distributions_are_of_the_policy_before_the_update(policy, batch, configure):
    rows = torch.arange(P * G) % 3 == 0
    found = before_update(prepare(configure("lp_reg"), "cpu"), batch, rows)
    whole = found["old_distributions"]
    assert whole.shape == (*batch.mask_NT.shape, len(policy.tokenizer))
    for n in range(P * G):
        length = int(batch.mask_NT[n].sum())
        if rows[n]:
            assert torch.allclose(whole[n, :length], plain_logs(policy, batch, n)[0], atol=1e-4)
        assert (whole[n, length if rows[n] else 0 :] == 0).all()
    picked = whole.gather(2, batch.tokens_NT[:, :, None])[..., 0]
    assert torch.allclose(picked[rows] * batch.mask_NT[rows], found["old_logprobs"][rows], atol=1e-6)


@pytest.mark.parametrize("name", [n for n in METHODS if n not in IDLE])
def test_every_method_takes_four_updates_of_one_batch(name, configure):
    run = prepare(configure(name, minibatches=4, learning_rate=3e-3), "cpu")
    metrics = training.one_step(run)
    assert metrics["update/norm"] > 0 and metrics["update/sampler_gap"] < 1e-4
    assert all(torch.isfinite(p).all() for p in run.policy.model.parameters())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("case", ["all wrong", "groups of one"])
def test_unlucky_batches_do_no_harm(name, case, configure, monkeypatch):
    size = 1 if case == "groups of one" else 4
    if case == "all wrong":
        for module in (training, baselines):
            monkeypatch.setattr(module, "verify", lambda problems, texts, done: [
                Verdict("wrong", None, "", "all wrong")] * len(texts))
    run = prepare(configure(name, minibatches=2, rollouts_per_prompt=size), "cpu")
    if name == "rloo" and size == 1:
        with pytest.raises(ValueError, match="leave-one-out compares"):
            training.one_step(run)
        return
    metrics = training.one_step(run)
    assert all(math.isfinite(v) for k, v in metrics.items() if k.startswith("update/"))
    assert all(torch.isfinite(p).all() for p in run.policy.model.parameters())
    if case == "all wrong" and name in ("grpo", "lp_reg", "cispo", "gspo", "token_shaped", "a3po", "psr", *WITHIN_GROUPS[1:7]):
        assert metrics["update/norm"] == 0
    if case == "all wrong" and name in FROM_ALL_WRONG:
        assert metrics["update/norm"] > 0


# ---------------------------------------------------------------- the record


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_a_step(name, configure):
    run = prepare(configure(name), "cpu")
    before = [p.detach().clone() for p in run.policy.model.parameters()]
    metrics = training.one_step(run)
    for key in ("update/norm", "update/gradient_norm", "update/clip_share", "update/sampler_gap"):
        assert math.isfinite(metrics[key])
    assert metrics["update/sampler_gap"] < 1e-4  # what was sampled is what is trained
    moved = any(not torch.equal(p, b) for p, b in zip(run.policy.model.parameters(), before))
    assert moved == (name not in IDLE) == (metrics["update/norm"] > 0)


@pytest.mark.parametrize("name", METHODS)
def test_the_record_says_what_it_is(name):
    method = method_named(name)
    assert method.name == name and method.source and METHODS[name].__doc__
    assert method.needs <= NEEDS
    kept = {keep_all: 4, keep_right: 2, keep_wrong: 2, keep_unless_all_right: 3, keep_mixed: 3}[method.keep]
    assert rows_kept(method, torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.tensor([0, 0, 0, 1])).sum() == kept


def test_kl_needs_a_reference_and_then_every_row_counts():
    method = method_named("grpo", {"kl": 1e-3})
    assert method.needs == {"reference_logprobs"} and not method.zero_rows_are_free
    assert not method_named("grpo").needs


def test_misspelt_methods_and_options_get_the_near_misses():
    with pytest.raises(ConfigError, match="Did you mean 'grpo' or 'ngrpo' or 'f_grpo'"):
        method_named("grp")
    with pytest.raises(ConfigError, match="option of w_reinforce 'positive_wieght'.*Did you mean 'positive_weight'"):
        method_named("w_reinforce", {"positive_wieght": 1.0})
    with pytest.raises(ConfigError, match="takes no options"):
        method_named("nsr", {"kl": 1.0})
    with pytest.raises(ConfigError, match="option of a3po 'wieght'.*Did you mean 'weight'"):
        method_named("a3po", {"wieght": 3.0})


@pytest.mark.parametrize(("name", "option", "value", "valid"), [
    ("a3po", "weight", 0.5, "at least 1"), ("a3po", "fraction", 0, "above 0 and at most 1"),
    ("a3po", "reaches_one", -1, "between 0 and 1"), ("a3po", "weight", "2", "a finite number"),
    ("a3po", "mean_one", 1, "True or False"), ("imitate", "side", 3, "text"), ("token_shaped", "right_low", -1.0, "at least 0"),
    ("grpo", "ddof", 7, "between 0 and 1"), ("grpo", "ddof", True, "a whole number"), ("grpo", "ddof", 1.0, "a whole number"),
    ("grpo", "kl", float("nan"), "a finite number"), ("grpo", "kl", float("inf"), "a finite number"),
    ("grpo", "epsilon", 0.0, "above 0"), ("reinforce", "negative_weight", -1, "at least 0"),
    ("dapo", "buffer_share", 3, "between 0 and 1"), ("dapo", "dynamic", "no", "True or False"),
    ("dapo_fork", "fraction", 1.5, "above 0 and at most 1"), ("lp_reg", "kappa", 9, "above 0 and at most 1"),
    ("lens", "factor", 0.5, "above 1"), ("lens", "ddof", 3, "between 0 and 1"),
    ("uniform_penalty", "penalty", -1, "at least 0"), ("ngrpo", "clip_low", -1, "between 0 and 1"),
    ("qae", "quantile", 3, "above 0 and below 1"), ("f_grpo", "gamma", -1, "at least 0"), ("rl_zvp", "alpha", -1, "at least 0"),
    ("bcpg_nsa", "beta", "0.5", "between -1 and 1"), ("bcpg_nsa", "recall", 2, "between 0 and 1"),
    ("topr", "beta", 2, "between -1 and 1"), ("dpo", "beta", -1, "above 0"), ("step_values", "continuations", 0, "at least 1"),
    ("nthr", "eta", -4, "between 0 and 1"), ("rlr_after", "share", 9, "between 0 and 1"),
    ("rlr", "hidden_kl", -0.1, "at least 0"), ("osi", "style", "nonsense", "checked, direct, noisy, unmarked, worked"),
    ("osi", "alpha", -0.5, "between 0 and 1"), ("osi", "cap", -1, "at least 0"),
    ("imitation", "style", "worke", "Did you mean 'worked'"), ("grpo_sequence_mask", "delta", -0.1, "at least 0"),
    ("nsr_cut", "limit", 30.0, "a whole number"),
])  # fmt: skip
def test_an_option_that_cannot_be_right_is_refused_when_the_method_is_built(name, option, value, valid):
    with pytest.raises(ConfigError) as refusal:
        method_named(name, {option: value})
    line = str(refusal.value)
    assert "\n" not in line and option in line and repr(value) in line and valid in line


LOOKED_AT_BY_ITSELF = {"rlr": {"kappa", "low", "high"}, "rlr_after": {"kappa", "low", "high"}, "bcpg": {"tau"},
                       "bcpg_nsa": {"beta", "tau"}, "neg_to_pos": {"switch", "later"}, "pos_to_neg": {"switch", "later"}}


def test_every_number_has_a_limit_that_holds_its_default():
    for name, factory in METHODS.items():
        parameters = inspect.signature(factory).parameters
        record = parameters["options"].default if list(parameters) == ["options"] else None
        defaults = vars(record) if record else {option: p.default for option, p in parameters.items()}
        numbers = {option for option, value in defaults.items() if type(value) in (int, float)}
        limits = LIMITS.get(name, {})
        assert numbers - limits.keys() <= LOOKED_AT_BY_ITSELF.get(name, set()) and limits.keys() <= defaults.keys(), name
        method_named(name, defaults)


def test_methods_of_other_people_are_looked_at_too():
    METHODS["mine"] = lambda gamma=1.0, anything=None: replace(baselines.grpo(), name="mine")
    assert method_named("mine", {"gamma": 2, "anything": "at all"}).name == METHODS["mine"](gamma=0.5).name == "mine"
    with pytest.raises(ConfigError, match="gamma of mine must be a finite number, not 'x'"):
        method_named("mine", {"gamma": "x"})


def test_looking_at_options_is_no_part_of_what_a_method_computes():
    METHODS["again"] = METHODS["grpo"]
    assert METHODS["grpo"] is not baselines.grpo
    assert method_digest(METHODS["again"]) == method_digest(METHODS["grpo"]) == method_digest(baselines.grpo)


def test_bad_rewards_are_refused_before_any_update(batch):
    method = method_named("reinforce")
    with pytest.raises(ValueError, match="finite"):
        method.advantage(batch, torch.full((P * G,), float("nan")), Progress(0, 1))
    with pytest.raises(ValueError, match="one group"):
        method_named("grpo").advantage(batch, torch.ones(3), Progress(0, 1))
