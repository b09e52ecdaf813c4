"""Every method through the real loop, and its gradient against the formula written out by hand."""

import math
from dataclasses import replace

import pytest
import torch

from polarity_lib import objectives as obj
from polarity_lib import training
from polarity_lib.config import ConfigError
from polarity_lib.methods import METHODS, NEEDS, Progress, keep_all, keep_right, keep_wrong, method_named, reinforce
from polarity_lib.rollouts import make_sampler
from polarity_lib.verification import Verdict

WITHIN_GROUPS = ["rloo", "grpo", "dr_grpo", "psr_grpo_seq", "nsr_grpo_seq", "psr_grpo_tok", "nsr_grpo_tok"]
P, G = 6, 4  # prompts and rollouts per prompt in this file


@pytest.fixture
def batch(policy):
    """6 x 4 rollouts with verdicts by hand: mixed groups, one all right, one all wrong."""
    problems = training.world_named("countdown3").draw("train", P, 0)
    rollouts = make_sampler(policy).sample(problems, G, "methods")
    groups = [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]
    return with_verdicts(rollouts, [right for group in groups for right in group])


def with_verdicts(rollouts, rights):
    return rollouts.but(verdicts=[Verdict("correct" if r else "wrong", None, "", "by hand") for r in rights])


@pytest.fixture
def gradient_of(configure):
    """gradient_of("nsr", batch): the gradient that the loop's own update leaves behind, as one vector."""

    def compute(method, rollouts, **changes):
        name = method if isinstance(method, str) else method.name
        config = configure(name, optimizer="sgd", grad_clip=0.0, **changes)
        run = training.prepare(config, "cpu")
        run.method = method_named(name) if isinstance(method, str) else method
        rollouts = rollouts.but(extras={})
        rollouts = rollouts.but(extras=training.extras_for(run, rollouts))
        rewards = run.method.reward(rollouts)
        keep = run.method.keep(rewards)
        advantages = run.method.advantage(rollouts, rewards, Progress(0, 1)) * keep[:, None]
        found = training.update(run, rollouts, advantages, keep, None)
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in run.policy.model.parameters()]
        gradient = torch.cat([g.flatten() for g in grads])
        assert found["update/gradient_norm"] == pytest.approx(gradient.norm().item(), rel=1e-4)
        return gradient

    return compute


def by_hand(policy, rollouts, weight_N):
    """The gradient of - sum_n weight_n sum_t log pi(y_nt), one plain forward pass per row."""
    total = 0.0
    for n, weight in enumerate(weight_N):
        prompt, length = rollouts.prompt_ids[n], int(rollouts.mask_NT[n].sum())
        answer = rollouts.tokens_NT[n, :length].clone()
        logits = policy.model(torch.tensor([prompt + answer.tolist()])).logits[0, len(prompt) - 1 : -1]
        total = total - weight * logits.log_softmax(-1).gather(1, answer[:, None]).sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(policy.model.parameters()))])


def differ(a, b) -> float:
    """How far apart two gradients are, relative to their length (entries are tiny, so no absolute tolerance)."""
    return ((a - b).norm() / b.norm()).item()


# ---------------------------------------------------------------- the formulas


def formula(name, right, length, budget):
    """The weight of each row's log-probability, written out with plain numbers."""
    N, groups = len(right), [right[i : i + G] for i in range(0, len(right), G)]
    mean = [sum(g) / G for g in groups for _ in g]
    std = [math.sqrt(sum((r - sum(g) / G) ** 2 for r in g) / (G - 1)) for g in groups for _ in g]
    sign = [1 if r else -1 for r in right]
    tokens = {r: sum(n for n, x in zip(length, right) if x == r) for r in (0, 1)}
    rows = {r: right.count(r) for r in (0, 1)}
    normalised = [(r - m) / (s + 1e-6) for r, m, s in zip(right, mean, std)]

    def only(kept, weights):
        return [w if r == kept else 0.0 for r, w in zip(right, weights)]

    return {
        "reinforce": [s / sum(length) for s in sign],
        "w_reinforce": [(0.1 if r else -1) / sum(length) for r in right],
        "psr": only(1, [+rows[1] / N / tokens[1]] * N),
        "nsr": only(0, [-rows[0] / N / tokens[0]] * N),
        "psr_all_tokens": only(1, [+1 / sum(length)] * N),
        "nsr_all_tokens": only(0, [-1 / sum(length)] * N),
        "reinforce_baseline": [(r - sum(right) / N) / sum(length) for r in right],
        "rloo": [(r - (G * m - r) / (G - 1)) / N for r, m in zip(right, mean)],
        "grpo": [a / n / N for a, n in zip(normalised, length)],
        "dr_grpo": [(r - m) / (N * budget) for r, m in zip(right, mean)],
        "psr_grpo_seq": only(1, [a / n / N for a, n in zip(normalised, length)]),
        "nsr_grpo_seq": only(0, [a / n / N for a, n in zip(normalised, length)]),
        "psr_grpo_tok": only(1, [a * rows[1] / N / tokens[1] for a in normalised]),
        "nsr_grpo_tok": only(0, [a * rows[0] / N / tokens[0] for a in normalised]),
    }[name]


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("base", "ppo")])
def test_the_gradient_is_the_formula(name, policy, batch, gradient_of):
    right, length = batch.correct_N.int().tolist(), batch.mask_NT.sum(1).int().tolist()
    expected = by_hand(policy, batch, formula(name, right, length, batch.max_new_tokens))
    assert differ(gradient_of(name, batch), expected) < 1e-5


def test_positive_and_negative_add_up_to_reinforce(batch, gradient_of):
    parts = gradient_of("psr_all_tokens", batch), gradient_of("nsr_all_tokens", batch)
    assert differ(sum(parts), gradient_of("reinforce", batch)) < 1e-5
    assert differ(0.1 * parts[0] + parts[1], gradient_of("w_reinforce", batch)) < 1e-5


def test_rloo_is_dr_grpo_enlarged(batch, gradient_of):
    same_aggregate = replace(method_named("dr_grpo"), aggregate=obj.sequence_mean_token_sum)
    assert differ(gradient_of("rloo", batch), G / (G - 1) * gradient_of(same_aggregate, batch)) < 1e-5


@pytest.mark.parametrize("loss", [obj.policy_gradient, obj.cispo])
def test_on_policy_the_clip_changes_nothing(loss, batch, gradient_of):
    plain = replace(method_named("grpo"), token_loss=lambda logp, old, A, mask, extras: loss(logp, old, A, mask))
    assert differ(gradient_of("grpo", batch), gradient_of(plain, batch)) < 1e-5


def test_polarity_weights_scale_the_parts_of_grpo(batch, gradient_of):
    weighted = method_named("grpo", {"positive_weight": 0.5, "negative_weight": 2.0})
    parts = 0.5 * gradient_of("psr_grpo_seq", batch) + 2.0 * gradient_of("nsr_grpo_seq", batch)
    assert differ(gradient_of(weighted, batch), parts) < 1e-5


# ---------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("name", WITHIN_GROUPS)
def test_uniform_groups_give_comparing_methods_nothing(name, batch, gradient_of):
    uniform = with_verdicts(batch, ([1] * G + [0] * G) * (P // 2))
    assert (gradient_of(name, uniform) == 0).all()


@pytest.mark.parametrize(("name", "rights"), [("psr", 1), ("nsr", 0), ("reinforce", 0), ("reinforce", 1)])
def test_uniform_groups_teach_constants(name, rights, batch, gradient_of):
    assert gradient_of(name, with_verdicts(batch, [rights] * P * G)).norm() > 1e-3
    other = {"psr": 0, "nsr": 1}.get(name)
    if other is not None:  # nothing of the kept polarity: no update at all
        assert (gradient_of(name, with_verdicts(batch, [other] * P * G)) == 0).all()


@pytest.mark.parametrize("name", [n for n in METHODS if n != "base" and method_named(n).zero_rows_are_free])
def test_rows_without_advantage_may_be_left_out(name, batch, gradient_of):
    computed = replace(method_named(name), zero_rows_are_free=False)
    assert differ(gradient_of(name, batch), gradient_of(computed, batch)) < 1e-5


@pytest.mark.parametrize("name", [n for n in METHODS if n != "base"])
def test_splitting_a_batch_into_passes_changes_nothing(name, batch, gradient_of, monkeypatch):
    whole = gradient_of(name, batch)
    monkeypatch.setattr(training, "TOKENS_PER_PASS", 9)  # about one rollout at a time, groups torn apart
    assert differ(gradient_of(name, batch), whole) < 1e-5


# ---------------------------------------------------------------- the record


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_a_step(name, configure):
    run = training.prepare(configure(name), "cpu")
    before = [p.detach().clone() for p in run.policy.model.parameters()]
    metrics = training.one_step(run)
    for key in ("update/norm", "update/gradient_norm", "update/clip_share", "update/sampler_gap"):
        assert math.isfinite(metrics[key])
    assert metrics["update/sampler_gap"] < 1e-4  # what was sampled is what is trained
    moved = any(not torch.equal(p, b) for p, b in zip(run.policy.model.parameters(), before))
    assert moved == (name != "base") == (metrics["update/norm"] > 0)


@pytest.mark.parametrize("name", METHODS)
def test_the_record_says_what_it_is(name):
    method = method_named(name)
    assert method.name == name and method.source and METHODS[name].__doc__
    assert method.needs <= NEEDS
    kept = {keep_all: 3, keep_right: 1, keep_wrong: 2}[method.keep]
    assert method.keep(torch.tensor([1.0, 0.0, 0.0])).sum() == kept


def test_kl_needs_a_reference_and_then_every_row_counts():
    method = method_named("grpo", {"kl": 1e-3})
    assert method.needs == {"reference_logprobs"} and not method.zero_rows_are_free
    assert not method_named("grpo").needs


def test_misspelt_methods_and_options_get_the_near_misses():
    with pytest.raises(ConfigError, match="Did you mean 'grpo' or 'dr_grpo'"):
        method_named("grp")
    with pytest.raises(ConfigError, match="option of w_reinforce 'positive_wieght'.*Did you mean 'positive_weight'"):
        method_named("w_reinforce", {"positive_wieght": 1.0})
    with pytest.raises(ConfigError, match="takes no options"):
        method_named("nsr", {"kl": 1.0})


def test_bad_rewards_are_refused_before_any_update(batch):
    method = reinforce()
    with pytest.raises(ValueError, match="finite"):
        method.advantage(batch, torch.full((P * G,), float("nan")), Progress(0, 1))
    with pytest.raises(ValueError, match="one group"):
        method_named("grpo").advantage(batch, torch.ones(3), Progress(0, 1))
