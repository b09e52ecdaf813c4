"""The shared methods: gradients against formulas written out by hand, and what is special about some."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import START
from gradients import G, P, SEVERAL, counted, differ, gradient_by_hand, plain_logs, standardised, with_verdicts

from polarity_lib import updates
from polarity_lib import objectives as obj
from polarity_lib.layout import pack_rows
from polarity_lib.methods import method_named, token_loss
from polarity_lib.papers.baselines.methods import METHODS, polarity_weighted
from polarity_lib.policy import token_logprobs
from polarity_lib.pretraining import base_policy


# ---------------------------------------------------------------- the formulas


def forked(rollouts, advantages):
    """DAPO on the fifth of the batch's tokens that the policy is least sure of, divided by their number."""
    # The entropies are those of the trainer's own pass: answers that begin alike have ties, broken by its last bits.
    policy, everything = base_policy(START), torch.ones(len(rollouts), dtype=torch.bool)
    entropies_NT = token_logprobs(policy.model, pack_rows(rollouts, everything, policy), rollouts.mask_NT)[1]
    places = rollouts.mask_NT.nonzero().tolist()  # in reading order
    count = math.ceil(len(places) / 5)
    chosen = {tuple(p) for p in sorted(places, key=lambda p: -entropies_NT[p[0], p[1]])[:count]}
    return [[a / count * ((n, t) in chosen) for t in range(int(rollouts.mask_NT[n].sum()))] for n, a in enumerate(advantages)]


def dapo(f):
    """DAPO's advantages: signs, less for answers in the last fifth of the budget, standardised."""
    buffer = max(1, round(0.2 * f.limit))
    return standardised([s - max(0, n - (f.limit - buffer)) / buffer for s, n in zip(f.sign, f.length)])


FORMULAS = {
    "reinforce": lambda f: [s / f.tokens for s in f.sign],
    "w_reinforce": lambda f: [(0.1 if r else -1) / f.tokens for r in f.right],
    "reinforce_baseline": lambda f: [(r - sum(f.right) / f.N) / f.tokens for r in f.right],
    "rloo": lambda f: [(r - (G * m - r) / (G - 1)) / f.N for r, m in zip(f.right, f.mean)],
    "grpo": lambda f: [a / n / f.N for a, n in zip(f.normalised, f.length)],
    "dr_grpo": lambda f: [(r - m) / (f.N * f.limit) for r, m in zip(f.right, f.mean)],
    "dapo": lambda f: [a / f.tokens for a in dapo(f)],
    "dapo_fork": lambda f: forked(f.rollouts, dapo(f)),
    "lp_reg": lambda f: [a / f.tokens for a in f.normalised],  # 1 % of so few tokens is none
    "cispo": lambda f: [a / f.tokens for a in f.normalised],
    "gspo": lambda f: [a / n / f.N for a, n in zip(f.normalised, f.length)],
}


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("base", "ppo")])
def test_the_gradient_is_the_formula(name, policy, batch, gradient_of):
    assert differ(gradient_of(name, batch), gradient_by_hand(policy, batch, FORMULAS[name](counted(batch)))) < 1e-5


def test_rloo_is_dr_grpo_enlarged(batch, gradient_of):
    same_aggregate = replace(method_named("dr_grpo"), aggregate=obj.sequence_mean_token_sum)
    assert differ(gradient_of("rloo", batch), G / (G - 1) * gradient_of(same_aggregate, batch)) < 1e-5


@pytest.mark.parametrize("aggregate", [obj.token_mean, obj.sequence_mean_token_mean])
def test_with_one_update_per_batch_the_losses_are_one(aggregate, batch, gradient_of):
    batch = batch.but(max_new_tokens=64)  # no answer is overlong, which DAPO would punish
    plain = replace(method_named("rloo"), advantage=method_named("grpo").advantage)  # REINFORCE's loss
    expected = gradient_of(replace(plain, aggregate=aggregate), batch)
    for name in ("grpo", "dapo", "lp_reg", "cispo", "gspo"):
        assert differ(gradient_of(replace(method_named(name), aggregate=aggregate), batch), expected) < 1e-5


def test_with_several_updates_they_differ(batch, gradient_of):
    batch = batch.but(max_new_tokens=64)
    grpo = gradient_of(replace(method_named("grpo"), aggregate=obj.token_mean), batch, **SEVERAL)
    for name, options in (("dapo", {"clip_high": 5.0}), ("lp_reg", {}), ("cispo", {}), ("gspo", {})):
        method = replace(method_named(name, options), aggregate=obj.token_mean)
        assert differ(gradient_of(method, batch, **SEVERAL), grpo) > 1e-3


@pytest.mark.parametrize("updates", [{}, SEVERAL], ids=["one", "several"])
def test_special_cases_are_the_method_they_extend(updates, batch, gradient_of):
    def gradient(name, **options):
        return gradient_of(method_named(name, options), batch, **updates)

    assert differ(gradient("dapo_fork", fraction=1.0), gradient("dapo")) < 1e-4  # it packs more rows, so not to the bit
    wide = token_loss(obj.ppo_clip, clip_low=1.0, clip_high=9.0)
    limited = replace(method_named("grpo"), token_loss=wide, aggregate=obj.token_mean)
    assert differ(gradient("lp_reg", rho=0.0), gradient_of(limited, batch, **updates)) < 1e-5
    assert torch.equal(gradient("grpo", positive_weight=1.0), gradient("grpo"))
    ones = replace(method_named("grpo"), advantage=polarity_weighted(method_named("grpo").advantage, 1.0, 1.0))
    assert torch.equal(gradient_of(ones, batch, **updates), gradient("grpo"))  # P1N1


def test_lp_reg_sees_the_whole_old_distribution(policy, batch, gradient_of):
    """Every punished token regularised: the proxy 1/Z pi_old pulls up by 1/Z - 1 where it kept the token."""
    right, length = batch.correct_N.tolist(), batch.mask_NT.sum(1).int().tolist()
    weights = []
    for n, advantage in enumerate(standardised([float(r) for r in right])):
        logs, answer = plain_logs(policy, batch, n)
        probs = logs.detach().exp()
        kept = probs >= 0.5 * probs.amax(1, keepdim=True)
        pull = (1 / (probs * kept).sum(1) - 1) * kept.gather(1, answer[:, None])[:, 0] * (advantage < 0)
        weights.append(((advantage + pull) / sum(length)).tolist())
    found = gradient_of(method_named("lp_reg", {"rho": 1.0, "kappa": 0.5}), batch)
    assert differ(found, gradient_by_hand(policy, batch, weights)) < 1e-4
    assert differ(found, gradient_of("lp_reg", batch)) > 1e-2


def test_overlong_answers_let_dapo_learn_from_uniform_groups(batch, gradient_of):
    wrong = with_verdicts(batch, [0] * P * G)
    assert gradient_of("dapo", wrong).norm() > 1e-3
    assert (gradient_of("dapo", wrong.but(max_new_tokens=64)) == 0).all()


# Their losses rank tokens: all of the mini-batch, however many pieces it goes through the policy in.
RANKED = {"dapo_fork": {}, "lp_reg": {"rho": 0.5, "kappa": 0.5}}


@pytest.mark.parametrize("name", RANKED)
def test_what_ranks_tokens_ranks_those_of_all_pieces(name, batch, gradient_of, monkeypatch):
    whole = gradient_of(method_named(name, RANKED[name]), batch)
    monkeypatch.setattr(updates, "TOKENS_PER_PASS", 9)
    assert differ(gradient_of(method_named(name, RANKED[name]), batch), whole) < 1e-5
