"""Every method through the real loop, and its gradient against the formula written out by hand."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import START

from polarity_lib import methods, training
from polarity_lib import objectives as obj
from polarity_lib.config import ConfigError
from polarity_lib.methods import (
    METHODS, NEEDS, SELECTIONS, Progress, keep_all, keep_right, keep_wrong, method_named, polarity_weighted, reinforce,
    schedule,
)
from polarity_lib.policy import token_logprobs
from polarity_lib.rollouts import make_sampler
from polarity_lib.verification import Verdict

WITHIN_GROUPS = ["rloo", "grpo", "dr_grpo", "psr_grpo_seq", "nsr_grpo_seq", "psr_grpo_tok", "nsr_grpo_tok",
                 "dapo", "dapo_fork", "lp_reg", "cispo", "gspo", "token_shaped", "a3po"]
FROM_ALL_WRONG = ["lens", "uniform_penalty", "ngrpo"]  # like GRPO, but all-wrong groups teach
RANKING = ["dapo_fork", "lp_reg"]  # their losses rank the tokens of one pass, as the released codes do
P, G = 6, 4  # prompts and rollouts per prompt in this file


@pytest.fixture
def batch(policy):
    """6 x 4 rollouts with verdicts by hand: mixed groups, one all right, one all wrong."""
    problems = training.world_named("countdown3").draw("train", P, 0)
    rollouts = make_sampler(policy).sample(problems, G, "methods")
    groups = [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]
    # The longest answer is as long as answers may be: DAPO punishes it.
    rollouts = rollouts.but(max_new_tokens=int(rollouts.mask_NT.sum(1).max()))
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
        if config.minibatches == 1:  # of several, the metric is a mean and the gradient that of the last
            assert found["update/gradient_norm"] == pytest.approx(gradient.norm().item(), rel=1e-4)
        return gradient

    return compute


def plain_logs(policy, rollouts, n):
    """Row n's log-probabilities of the whole vocabulary and its tokens, from one plain forward pass."""
    prompt, length = rollouts.prompt_ids[n], int(rollouts.mask_NT[n].sum())
    answer = rollouts.tokens_NT[n, :length].clone()
    logits = policy.model(torch.tensor([prompt + answer.tolist()])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1), answer


def by_hand(policy, rollouts, weights):
    """The gradient of - sum_nt weight_nt log pi(y_nt); one weight per row, or a list with one per token."""
    total = 0.0
    for n, weight in enumerate(weights):
        logs, answer = plain_logs(policy, rollouts, n)
        total = total - (torch.tensor(weight) * logs.gather(1, answer[:, None])[:, 0]).sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(policy.model.parameters()))])


def differ(a, b) -> float:
    """How far apart two gradients are, relative to their length (entries are tiny, so no absolute tolerance)."""
    return ((a - b).norm() / b.norm()).item()


# ---------------------------------------------------------------- the formulas


def standardise(values):
    """Within each group, ddof 1."""
    groups = [values[i : i + G] for i in range(0, len(values), G)]
    mean = [sum(g) / G for g in groups for _ in g]
    std = [math.sqrt(sum((v - sum(g) / G) ** 2 for v in g) / (G - 1)) for g in groups for _ in g]
    return [(v - m) / (s + 1e-6) for v, m, s in zip(values, mean, std)]


def formula(name, rollouts):
    """The weight of each row's log-probability, written out with plain numbers."""
    right, length = rollouts.correct_N.int().tolist(), rollouts.mask_NT.sum(1).int().tolist()
    N, tokens, limit = len(right), sum(length), rollouts.max_new_tokens
    groups = [right[i : i + G] for i in range(0, len(right), G)]
    mean = [sum(g) / G for g in groups for _ in g]
    sign = [1 if r else -1 for r in right]
    tokens_of = {r: sum(n for n, x in zip(length, right) if x == r) for r in (0, 1)}
    rows = {r: right.count(r) for r in (0, 1)}
    normalised = standardise(right)
    buffer = max(1, round(0.2 * limit))  # the last fifth of the budget is punished
    dapo = standardise([s - max(0, n - (limit - buffer)) / buffer for s, n in zip(sign, length)])

    def only(kept, weights):
        return [w if r == kept else 0.0 for r, w in zip(right, weights)]

    return {
        "reinforce": lambda: [s / tokens for s in sign],
        "w_reinforce": lambda: [(0.1 if r else -1) / tokens for r in right],
        "psr": lambda: only(1, [+rows[1] / N / tokens_of[1]] * N),
        "nsr": lambda: only(0, [-rows[0] / N / tokens_of[0]] * N),
        "psr_all_tokens": lambda: only(1, [+1 / tokens] * N),
        "nsr_all_tokens": lambda: only(0, [-1 / tokens] * N),
        "reinforce_baseline": lambda: [(r - sum(right) / N) / tokens for r in right],
        "rloo": lambda: [(r - (G * m - r) / (G - 1)) / N for r, m in zip(right, mean)],
        "grpo": lambda: [a / n / N for a, n in zip(normalised, length)],
        "dr_grpo": lambda: [(r - m) / (N * limit) for r, m in zip(right, mean)],
        "psr_grpo_seq": lambda: only(1, [a / n / N for a, n in zip(normalised, length)]),
        "nsr_grpo_seq": lambda: only(0, [a / n / N for a, n in zip(normalised, length)]),
        "psr_grpo_tok": lambda: only(1, [a * rows[1] / N / tokens_of[1] for a in normalised]),
        "nsr_grpo_tok": lambda: only(0, [a * rows[0] / N / tokens_of[0] for a in normalised]),
        "dapo": lambda: [a / tokens for a in dapo],
        "dapo_fork": lambda: forked(rollouts, dapo),
        "lp_reg": lambda: [a / tokens for a in normalised],  # 1 % of so few tokens is none
        "cispo": lambda: [a / tokens for a in normalised],
        "gspo": lambda: [a / n / N for a, n in zip(normalised, length)],
        "token_shaped": lambda: [a / n / N for a, n in zip(normalised, length)],  # without scales
        "a3po": lambda: [[a * w / n / N for w in row] for a, n, row in zip(normalised, length, first_weights(rollouts))],
        "lens": lambda: [a / n / N for a, n in zip(calibrated(rollouts), length)],
        "uniform_penalty": lambda: [(a if m else -0.05) / n / N for a, m, n in zip(normalised, mean, length)],
        "ngrpo": lambda: [a / n / N for a, n in zip(with_a_fictitious_right(groups), length)],
    }[name]()


def forked(rollouts, advantages):
    """DAPO on the fifth of the batch's tokens that the policy is least sure of, divided by their number."""
    # The entropies are those of the trainer's own pass: answers that begin alike have ties, broken by its last bits.
    policy, everything = training.base_policy(START), torch.ones(len(rollouts), dtype=torch.bool)
    entropies_NT = token_logprobs(policy.model, training.pack_rows(rollouts, everything), rollouts.mask_NT)[1]
    places = rollouts.mask_NT.nonzero().tolist()  # in reading order
    count = math.ceil(len(places) / 5)
    chosen = {tuple(p) for p in sorted(places, key=lambda p: -entropies_NT[p[0], p[1]])[:count]}
    return [[a / count * ((n, t) in chosen) for t in range(int(rollouts.mask_NT[n].sum()))] for n, a in enumerate(advantages)]


def first_weights(rollouts):
    """A3PO's weights at step 0: 2 on a fifth of each answer, unlikely tokens if right, likely ones if wrong."""
    table = []
    for n, right in enumerate(rollouts.correct_N.tolist()):
        length = int(rollouts.mask_NT[n].sum())
        probs = rollouts.logprobs_NT[n, :length].exp().tolist()
        ranked = sorted(range(length), key=lambda t: probs[t] if right else -probs[t])
        chosen = ranked[: max(1, length // 5)]
        table.append([2.0 if t in chosen else 1.0 for t in range(length)])
    return table


def calibrated(rollouts):
    """LENS with its defaults: standardised in mixed groups, a quarter of the distance from the mean in all-wrong ones."""
    right, length = rollouts.correct_N.int().tolist(), rollouts.mask_NT.sum(1).int().tolist()
    sure = [math.exp(sum(row[:n]) / n) for row, n in zip(rollouts.logprobs_NT.tolist(), length)]
    found = []
    for i in range(0, len(right), G):
        verdicts, p = right[i : i + G], sure[i : i + G]
        weights = [r / q for r, q in zip(verdicts, p)]
        estimate = G / sum(weights) if any(verdicts) else 0.0
        D = max(estimate, 2 * max(p))
        rewards = [1.0 if r else -q / (D - q) / G for r, q in zip(verdicts, p)]
        if any(verdicts):
            found += standardise(rewards)  # an all-right group is uniform: zero
        else:
            found += [0.25 * (x - sum(rewards) / G) for x in rewards]
    return found


def with_a_fictitious_right(groups):
    found = []
    for group in groups:
        larger = [*group, 1]
        mean = sum(larger) / (G + 1)
        std = math.sqrt(sum((r - mean) ** 2 for r in larger) / G)
        found += [(r - mean) / (std + 1e-6) for r in group]
    return found


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("base", "ppo")])
def test_the_gradient_is_the_formula(name, policy, batch, gradient_of):
    assert differ(gradient_of(name, batch), by_hand(policy, batch, formula(name, batch))) < 1e-5


def test_positive_and_negative_add_up_to_reinforce(batch, gradient_of):
    parts = gradient_of("psr_all_tokens", batch), gradient_of("nsr_all_tokens", batch)
    assert differ(sum(parts), gradient_of("reinforce", batch)) < 1e-5
    assert differ(0.1 * parts[0] + parts[1], gradient_of("w_reinforce", batch)) < 1e-5


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


SEVERAL = {"minibatches": 2, "learning_rate": 1.0}  # a large first update, so that ratios are clipped in the second


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
    wide = methods.token_loss(obj.ppo_clip, clip_low=1.0, clip_high=9.0)
    limited = replace(method_named("grpo"), token_loss=wide, aggregate=obj.token_mean)
    assert differ(gradient("lp_reg", rho=0.0), gradient_of(limited, batch, **updates)) < 1e-5
    for same in (gradient("a3po", weight=1.0), gradient("token_shaped"), gradient("grpo", positive_weight=1.0)):
        assert torch.equal(same, gradient("grpo"))
    assert torch.equal(gradient("a3po", weight=1.0, base="dapo"), gradient("dapo"))
    ones = replace(method_named("grpo"), advantage=polarity_weighted(method_named("grpo").advantage, 1.0, 1.0))
    assert torch.equal(gradient_of(ones, batch, **updates), gradient("grpo"))  # P1N1


def test_lp_reg_sees_the_whole_old_distribution(policy, batch, gradient_of):
    """Every punished token regularised: the proxy 1/Z pi_old pulls up by 1/Z - 1 where it kept the token."""
    right, length = batch.correct_N.tolist(), batch.mask_NT.sum(1).int().tolist()
    weights = []
    for n, advantage in enumerate(standardise([float(r) for r in right])):
        logs, answer = plain_logs(policy, batch, n)
        probs = logs.detach().exp()
        kept = probs >= 0.5 * probs.amax(1, keepdim=True)
        pull = (1 / (probs * kept).sum(1) - 1) * kept.gather(1, answer[:, None])[:, 0] * (advantage < 0)
        weights.append(((advantage + pull) / sum(length)).tolist())
    found = gradient_of(method_named("lp_reg", {"rho": 1.0, "kappa": 0.5}), batch)
    assert differ(found, by_hand(policy, batch, weights)) < 1e-4
    assert differ(found, gradient_of("lp_reg", batch)) > 1e-2


def test_polarity_weights_scale_the_parts_of_grpo(batch, gradient_of):
    weighted = method_named("grpo", {"positive_weight": 0.5, "negative_weight": 2.0})
    parts = 0.5 * gradient_of("psr_grpo_seq", batch) + 2.0 * gradient_of("nsr_grpo_seq", batch)
    assert differ(gradient_of(weighted, batch), parts) < 1e-5


# ---------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("name", WITHIN_GROUPS)
def test_uniform_groups_give_comparing_methods_nothing(name, batch, gradient_of):
    uniform = with_verdicts(batch, ([1] * G + [0] * G) * (P // 2)).but(max_new_tokens=64)
    assert (gradient_of(name, uniform) == 0).all()


@pytest.mark.parametrize("name", FROM_ALL_WRONG)
def test_all_wrong_groups_teach_these_and_all_right_ones_do_not(name, batch, gradient_of):
    assert gradient_of(name, with_verdicts(batch, [0] * P * G)).norm() > 1e-4
    assert (gradient_of(name, with_verdicts(batch, [1] * P * G)) == 0).all()


def test_overlong_answers_let_dapo_learn_from_uniform_groups(batch, gradient_of):
    wrong = with_verdicts(batch, [0] * P * G)
    assert gradient_of("dapo", wrong).norm() > 1e-3
    assert (gradient_of("dapo", wrong.but(max_new_tokens=64)) == 0).all()


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


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("base", *RANKING)])
def test_splitting_a_batch_into_passes_changes_nothing(name, batch, gradient_of, monkeypatch):
    whole = gradient_of(name, batch)
    monkeypatch.setattr(training, "TOKENS_PER_PASS", 9)  # about one rollout at a time, groups torn apart
    assert differ(gradient_of(name, batch), whole) < 1e-5


RANKED = {"dapo_fork": {}, "lp_reg": {"rho": 0.5, "kappa": 0.5}}


@pytest.mark.parametrize("name", RANKING)
def test_what_ranks_tokens_ranks_those_of_one_pass(name, batch, gradient_of, monkeypatch):
    # On purpose, as in the released codes. No run here needs a second pass: 65,536 tokens are in one.
    whole = gradient_of(method_named(name, RANKED[name]), batch)
    monkeypatch.setattr(training, "TOKENS_PER_PASS", 9)
    assert differ(gradient_of(method_named(name, RANKED[name]), batch), whole) > 1e-2


def test_splitting_with_several_updates_changes_nothing(batch, gradient_of, monkeypatch):
    gentle = SEVERAL | {"learning_rate": 0.1}
    names = ("dapo", "a3po", "lens")
    whole = {name: gradient_of(name, batch, **gentle) for name in names}
    monkeypatch.setattr(training, "TOKENS_PER_PASS", 40)
    for name in names:
        assert differ(gradient_of(name, batch, **gentle), whole[name]) < 1e-3  # the first update's rounding, grown


# ---------------------------------------------------------------- several updates per batch


def updated(configure, rollouts, name, **changes):
    """An update of a batch; returns the new and the old log-probabilities each token loss was given, and metrics."""
    run = training.prepare(configure(name, optimizer="sgd", grad_clip=0.0, **changes), "cpu")
    seen, plain = [], run.method.token_loss

    def watched(logp, old, A, mask, extras):
        seen.append((logp.detach().clone(), old.clone()))
        return plain(logp, old, A, mask, extras)

    run.method = replace(run.method, token_loss=watched)
    rewards = run.method.reward(rollouts)
    keep = run.method.keep(rewards)
    advantages = run.method.advantage(rollouts, rewards, Progress(0, 1)) * keep[:, None]
    return seen, training.update(run, rollouts, advantages, keep, None)


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
    run = training.prepare(configure("grpo", minibatches=4), "cpu")
    found = training.before_update(run, batch, rows)
    assert set(found) == {"old_logprobs"}
    assert torch.allclose(found["old_logprobs"][rows], batch.logprobs_NT[rows], atol=1e-4)
    assert (found["old_logprobs"][~rows] == 0).all()
    assert training.before_update(run, batch, torch.zeros_like(rows)) == {}  # nothing to update
    run = training.prepare(configure("grpo"), "cpu")
    assert training.before_update(run, batch, rows) == {}  # one update: the new ones are the old ones


def test_old_distributions_are_of_the_policy_before_the_update(policy, batch, configure):
    rows = torch.arange(P * G) % 3 == 0
    found = training.before_update(training.prepare(configure("lp_reg"), "cpu"), batch, rows)
    whole = found["old_distributions"]
    assert whole.shape == (*batch.mask_NT.shape, len(policy.tokenizer))
    for n in range(P * G):
        length = int(batch.mask_NT[n].sum())
        if rows[n]:
            assert torch.allclose(whole[n, :length], plain_logs(policy, batch, n)[0], atol=1e-4)
        assert (whole[n, length if rows[n] else 0 :] == 0).all()
    picked = whole.gather(2, batch.tokens_NT[:, :, None])[..., 0]
    assert torch.allclose(picked[rows] * batch.mask_NT[rows], found["old_logprobs"][rows], atol=1e-6)


@pytest.mark.parametrize("name", [n for n in METHODS if n != "base"])
def test_every_method_takes_four_updates_of_one_batch(name, configure):
    run = training.prepare(configure(name, minibatches=4, learning_rate=3e-3), "cpu")
    metrics = training.one_step(run)
    assert metrics["update/norm"] > 0 and metrics["update/sampler_gap"] < 1e-4
    assert all(torch.isfinite(p).all() for p in run.policy.model.parameters())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("case", ["all wrong", "groups of one"])
def test_unlucky_batches_do_no_harm(name, case, configure, monkeypatch):
    size = 1 if case == "groups of one" else 4
    if case == "all wrong":
        for module in (training, methods):
            monkeypatch.setattr(module, "verify", lambda problems, texts, done: [
                Verdict("wrong", None, "", "all wrong")] * len(texts))
    run = training.prepare(configure(name, minibatches=2, rollouts_per_prompt=size), "cpu")
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


# ---------------------------------------------------------------- A3PO's options


def test_the_weight_falls_to_one_at_two_fifths_of_the_training():
    def at(step, updates=1, **options):
        defaults = {"weight": 2.0, "reaches_one": 0.4, "slope": 0.0, "clock": "batches"}
        return schedule(Progress(step, 200, updates), **(defaults | options))

    assert [at(s) for s in (0, 40, 80, 200)] == pytest.approx([2.0, 1.5, 1.0, 1.0])
    assert [at(s, updates=4, clock="updates") for s in (0, 40, 80)] == pytest.approx([2.0, 1.5, 1.0])  # a share has no clock
    assert [at(s, weight=5.0) for s in (0, 40, 80)] == pytest.approx([5.0, 3.0, 1.0])
    assert [at(s, reaches_one=0.0) for s in (0, 100, 200)] == [2.0, 2.0, 2.0]
    # The paper's slope, by batches and by optimizer steps, four to a batch.
    assert [at(s, slope=0.005) for s in (0, 50, 100, 200)] == pytest.approx([2.0, 1.75, 1.5, 1.0])
    assert [at(s, 4, slope=0.005, clock="updates") for s in (0, 25, 50, 51)] == pytest.approx([2.0, 1.5, 1.0, 1.0])


def weights_of(batch, step=0, **options):
    """A3PO's advantages over GRPO's, on rows where those are not zero."""
    rewards = batch.correct_N.float()
    shaped = method_named("a3po", options).advantage(batch, rewards, Progress(step, 10, 4))
    plain = method_named("grpo").advantage(batch, rewards, Progress(step, 10, 4))
    assert ((shaped == 0) == (plain == 0)).all() and (shaped * plain >= 0).all()  # no sign changes
    return torch.where(plain != 0, shaped / plain, 1.0)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_selection_weighs_as_many_tokens(selection, batch):
    weights_NT = weights_of(batch, selection=selection)
    length_N, active_N = batch.mask_NT.sum(1).int(), (weights_NT != 1).any(1)
    assert active_N.sum() == 4 * G  # the mixed groups
    assert set(weights_NT.unique().tolist()) == {1.0, 2.0}
    assert (weights_NT == 2).sum(1)[active_N].tolist() == [max(1, n // 5) for n in length_N[active_N].tolist()]
    assert torch.equal(weights_NT, weights_of(batch, selection=selection))
    assert (weights_of(batch, step=4, selection=selection) == 1).all()  # 40 % of ten steps
    moved = not torch.equal(weights_NT, weights_of(batch, step=1, selection=selection, reaches_one=0.0))
    assert moved == (selection in ("random", "position"))  # drawn anew at every step
    if selection != "a3po":
        assert not torch.equal(weights_NT, weights_of(batch))


def test_the_first_selection_is_the_one_by_hand(batch):
    weights = weights_of(batch)
    for n, row in enumerate(first_weights(batch)):
        if (weights[n] != 1).any():
            assert weights[n, : len(row)].tolist() == row


@pytest.mark.parametrize("polarity", ["right", "wrong"])
def test_one_polarity_can_be_weighted_alone(polarity, batch):
    wanted = batch.correct_N == (polarity == "right")
    weights, both = weights_of(batch, polarity=polarity), weights_of(batch)
    assert torch.equal(weights[wanted], both[wanted]) and (weights[~wanted] == 1).all()


def test_mean_one_keeps_the_size_of_every_answers_signal(batch):
    weights = weights_of(batch, mean_one=True)
    active = (weights != 1).any(1)
    mean = (weights * batch.mask_NT).sum(1) / batch.mask_NT.sum(1)
    assert active.any() and torch.allclose(mean[active], torch.ones(int(active.sum())), atol=1e-5)
    assert torch.allclose(weights[active].amax(1) / weights[active].amin(1), torch.tensor(2.0))


@pytest.mark.parametrize("cell", ["right_high", "right_low", "wrong_high", "wrong_low"])
@pytest.mark.parametrize("metric", ["probability", "entropy"])
def test_a_cell_weighs_its_end_of_its_polarity(cell, metric, batch):
    polarity, end = cell.split("_")
    rewards = batch.correct_N.float()
    shaped = method_named("token_shaped", {cell: 5.0, "metric": metric}).advantage(batch, rewards, Progress(0, 1))
    plain = method_named("grpo").advantage(batch, rewards, Progress(0, 1))
    values = batch.logprobs_NT.exp() if metric == "probability" else batch.entropies_NT
    for n, right in enumerate(batch.correct_N.tolist()):
        length = int(batch.mask_NT[n].sum())
        chosen = (shaped[n, :length] != plain[n, :length]).nonzero()[:, 0].tolist()
        if right != (polarity == "right") or plain[n, 0] == 0:
            assert chosen == []
            continue
        key = values[n, :length].tolist()
        assert chosen == sorted(sorted(range(length), key=lambda t: -key[t] if end == "high" else key[t])[: max(1, length // 5)])
        assert torch.allclose(shaped[n, chosen], 5 * plain[n, chosen])


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
    with pytest.raises(ConfigError, match="Did you mean 'grpo' or 'ngrpo' or 'dr_grpo'"):
        method_named("grp")
    with pytest.raises(ConfigError, match="option of w_reinforce 'positive_wieght'.*Did you mean 'positive_weight'"):
        method_named("w_reinforce", {"positive_wieght": 1.0})
    with pytest.raises(ConfigError, match="takes no options"):
        method_named("nsr", {"kl": 1.0})
    with pytest.raises(ConfigError, match="option of a3po 'wieght'.*Did you mean 'weight'"):
        method_named("a3po", {"wieght": 3.0})


@pytest.mark.parametrize(("name", "option", "value", "near"), [
    ("a3po", "selection", "positon", "position"), ("a3po", "selection", "swaped", "swapped"),
    ("a3po", "clock", "update", "updates"), ("a3po", "polarity", "rigth", "right"), ("a3po", "base", "dappo", "dapo"),
    ("token_shaped", "metric", "entropi", "entropy"),
    ("lens", "variant", "RN", "R"), ("lens", "scramble", "shufle", "shuffle"),
])  # fmt: skip
def test_misspelt_choices_are_refused_before_a_run_is_prepared(name, option, value, near, configure, monkeypatch):
    monkeypatch.setattr(training, "base_policy", lambda *a: pytest.fail("a base policy was made"))
    with pytest.raises(ConfigError, match=f"Did you mean .*'{near}'"):
        training.prepare(configure(name, options=((option, value),)), "cpu")


@pytest.mark.parametrize(("name", "options"), [
    ("a3po", {"weight": 0.5}), ("a3po", {"fraction": 0.0}), ("lens", {"alpha": -1.0}), ("lens", {"factor": 1.0}),
    ("uniform_penalty", {"penalty": -0.1}),
])  # fmt: skip
def test_numbers_that_cannot_be_are_refused_before_any_update(name, options, batch):
    with pytest.raises(ValueError, match="weight|fraction|alpha|factor|penalty"):
        method_named(name, options).advantage(batch, batch.correct_N.float(), Progress(0, 10))


def test_bad_rewards_are_refused_before_any_update(batch):
    method = reinforce()
    with pytest.raises(ValueError, match="finite"):
        method.advantage(batch, torch.full((P * G,), float("nan")), Progress(0, 1))
    with pytest.raises(ValueError, match="one group"):
        method_named("grpo").advantage(batch, torch.ones(3), Progress(0, 1))
