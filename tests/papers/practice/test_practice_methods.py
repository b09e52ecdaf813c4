"""What the threads propose, by hand: the card's numbers, and TRL's own arithmetic where it has the option."""

import types

import pytest
import torch
from token_losses import batches, check_padding, check_refusals, check_splits, one_token

from hypothesis import given
from hypothesis import strategies as st

from polarity_lib import advantages as adv
from polarity_lib import mechanism
from polarity_lib import objectives as obj
from polarity_lib.config import ConfigError
from polarity_lib.engines import make_sampler
from polarity_lib.methods import Progress, method_named, rows_kept
from polarity_lib.objectives import BatchCounts
from polarity_lib.papers.practice import losses, methods, truncation
from polarity_lib.problems import Problem, world_named
from polarity_lib.rollouts import Rollouts
from polarity_lib.run import ProblemStream
from polarity_lib.verification import verify

L = 5  # tokens of every answer


def groups(dead: int):
    """4 prompts x 4 answers of equal length: each group has one right answer, but `dead` of them have none."""
    right = [1, 0, 0, 0] * (4 - dead) + [0] * 4 * dead
    return mechanism.hand_made(right, [n // 4 for n in range(16)], [L] * 16)


# ---------------------------------------------------------------- P1, P11: the clip


@pytest.mark.parametrize(("name", "ratio", "advantage", "slope"), [
    ("nsr", 0.79, -1, 0.0), ("nsr", 1.3, -1, 1.3),  # only the lower clip binds for negatives
    ("nsr_unclipped", 0.79, -1, 0.79), ("nsr_unclipped", 1.3, -1, 1.3), ("nsr_unclipped", 50.0, -1, 50.0),
    ("psr", 1.3, 1, 0.0), ("psr_unclipped", 1.3, 1, -1.3), ("w_reinforce_unclipped", 1.3, 0.1, -0.13),
    ("grpo_lower_clip", 0.79, -1, 0.0), ("grpo_lower_clip", 1.3, 1, -1.3),
    ("grpo_upper_clip", 0.79, -1, 0.79), ("grpo_upper_clip", 1.3, 1, 0.0),
])
def test_which_bound_takes_which_gradient(name, ratio, advantage, slope):
    def loss(logp, old, A, mask):
        return method_named(name).token_loss(logp - 4, old - 4, A, mask, {})

    assert one_token(loss, ratio, float(advantage))[1] == pytest.approx(slope)


@pytest.mark.parametrize(("name", "start"), [("nsr_unclipped", "nsr"), ("psr_unclipped", "psr"),
                                             ("w_reinforce_unclipped", "w_reinforce"), ("nsr_sequence_mask", "nsr"),
                                             ("nsr_cut", "nsr"), ("grpo_constant", "grpo")])
def test_all_else_is_the_method_they_start_from(name, start):
    eight = mechanism.hand_made([1, 0, 0, 0, 0, 0, 0, 0], [0] * 4 + [1] * 4, [7, 7, 6, 8, 7, 7, 6, 8])
    mine, other = (mechanism.token_weights(method_named(n), eight) for n in (name, start))
    if name == "grpo_constant":  # the advantage is the same, the denominator is not
        rows, counts = eight.mask_NT.sum(1, keepdim=True), eight.max_new_tokens
        assert torch.allclose(mine, other * rows / counts)
    else:
        assert torch.equal(mine, other)  # on-policy nothing is clipped, masked or cut


# ---------------------------------------------------------------- P10: the negative sequence mask


def test_the_sequence_mask_by_hand():
    old = torch.full((4, 2), -1.0)
    moved = torch.tensor([[0.0, 0.24], [0.0, 0.16], [0.5, 0.5], [-0.5, -0.5]])  # log(old / new), means 0.12, 0.08, 0.5, -0.5
    advantages = torch.tensor([[-1.0, -1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    mask = torch.ones(4, 2)
    keep = losses.negative_sequence_mask(old - moved, old, advantages, mask, 0.1)
    assert keep[:, 0].tolist() == [0, 1, 1, 1]  # the first alone fell too far; a right answer may fall, a wrong one rise
    assert losses.negative_sequence_mask(old - moved, old, advantages, mask, 0.05)[:, 0].tolist() == [0, 0, 1, 1]
    assert losses.negative_sequence_mask(old, old, advantages, mask, 0.0).all()  # the first update drops nothing
    with pytest.raises(ValueError, match="delta"):
        losses.negative_sequence_mask(old, old, advantages, mask, -0.1)


def masked_clip(logp, old, A, mask):
    return methods.grpo_sequence_mask().token_loss(logp, old, A, mask, {})


@given(batches(), st.integers(0, 3), st.sampled_from((7.0, float("-inf"), float("nan"))), st.integers(0, 5), st.booleans())
def test_the_masked_loss_bears_padding_and_splits(batch, extra, junk, cut, flip):
    check_padding(masked_clip, batch, extra, junk)
    check_splits(masked_clip, batch, cut, flip)


def test_the_masked_loss_refuses_what_cannot_be():
    check_refusals(masked_clip)


@pytest.mark.peers
@given(batches(), st.sampled_from((0.0, 0.05, 0.1, 0.2)))
def test_the_sequence_mask_is_trls(batch, delta):
    trainer = pytest.importorskip("trl").GRPOTrainer
    logp, old, advantages, mask = batch
    theirs = trainer.get_off_policy_mask(advantages[:, :1], logp, old, mask, delta)
    ours = losses.negative_sequence_mask(logp, old, advantages, mask, delta)
    drift = ((old - logp) * mask).sum(1) / mask.sum(1).clamp(min=1)
    told = mask.any(1) & ((advantages[:, 0] >= 0) | ((drift - delta).abs() > 1e-9))
    assert torch.equal(ours[told], theirs[told].to(ours.dtype))  # up to rounding at the threshold itself


# ---------------------------------------------------------------- P2, P3: dead groups


def test_rows_of_mixed_groups():
    rewards = torch.tensor([1.0, 0, 1, 1, 0, 0, 0.7, 0.7])
    assert losses.keep_mixed(rewards, torch.arange(8) // 2).tolist() == [True, True] + [False] * 6
    # Equal up to rounding is equal; a leave-one-out normalisation made -2075 of such a group (NeMo-RL #4158).
    nearly = torch.tensor([0.1 + 0.2, 0.3, 0.3, 0.3], dtype=torch.float64)
    assert not losses.keep_mixed(nearly, torch.zeros(4, dtype=torch.long)).any()
    for advantage in (adv.grpo, adv.rloo, adv.dr_grpo):
        assert advantage(nearly, torch.zeros(4, dtype=torch.long)).abs().max() < 1e-3


@pytest.mark.parametrize("dead", [0, 1, 2, 3])
@pytest.mark.parametrize(("mixed", "plain"), [("grpo_mixed_rows", "grpo"), ("grpo_mixed_tokens", "both_polarities")])
def test_the_denominator_over_mixed_groups(mixed, plain, dead):
    """Denominators 16 L and (16 - 4 k) L: the second loss is 4 / (4 - k) of the first; one dead group: 4/3."""
    ours, theirs = (mechanism.token_weights(method_named(name), groups(dead)) for name in (mixed, plain))
    assert torch.allclose(ours, theirs * 4 / (4 - dead))
    first = method_named(plain).advantage(groups(dead), torch.tensor([1.0] + [0] * 15), Progress(0, 1))[0, 0]
    assert theirs[0, 0] == pytest.approx(float(first) / (16 * L))


def test_a_batch_of_dead_groups_is_no_update():
    for name in ("grpo_mixed_rows", "grpo_mixed_tokens"):
        assert (mechanism.token_weights(method_named(name), groups(4)) == 0).all()


@pytest.mark.peers
@pytest.mark.parametrize("dead", [0, 1, 3])
def test_the_plain_denominators_are_trls(dead):
    """TRL's `grpo` and `dapo` over all rows, dead ones included: what its users propose to change."""
    trl = pytest.importorskip("trl")
    rollouts, loss = groups(dead), {}
    logp = torch.full((16, L), -0.7, dtype=torch.float64, requires_grad=True)
    for name, kind in (("grpo", "grpo"), ("both_polarities", "dapo")):
        advantages = method_named(name).advantage(rollouts, rollouts.correct_N.double(), Progress(0, 1))
        loss[kind] = _trl_loss(trl, kind, logp, advantages, rollouts.mask_NT)
        (theirs,) = torch.autograd.grad(loss[kind], logp)
        assert torch.allclose(-theirs, mechanism.token_weights(method_named(name), rollouts), atol=1e-9)


def _trl_loss(trl, kind, logp, advantages_NT, mask, count=None):
    """`GRPOTrainer._compute_loss` on given log-probabilities."""
    ones = torch.ones(len(logp), 1, dtype=torch.long)
    trainer = types.SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **options: (logp, torch.zeros_like(logp), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, importance_sampling_level="token",
        beta=0.0, loss_type=kind, epsilon_low=0.2, epsilon_high=0.2, use_vllm=False, current_gradient_accumulation_steps=1,
        max_completion_length=16, _entropy_bonus_enabled=False, model=types.SimpleNamespace(training=False),
        _metrics={"eval": _Everything()}, num_generations=4,
        args=types.SimpleNamespace(delta=None, steps_per_generation=1, use_bias_correction_kl=False),
        accelerator=types.SimpleNamespace(num_processes=1, gather=lambda x: x, gather_for_metrics=lambda x: x,
                                          reduce=lambda x, reduction: x, sync_gradients=False))
    inputs = {"prompt_ids": ones, "prompt_mask": ones, "completion_ids": torch.zeros_like(mask).long(), "completion_mask": mask,
              "advantages": advantages_NT[:, 0], "old_per_token_logps": logp.detach(),
              "num_items_in_batch": mask.sum() if count is None else count}
    return trl.GRPOTrainer._compute_loss(trainer, None, inputs)


class _Everything(dict):
    """Lists by any name."""

    def __missing__(self, key):
        self[key] = []
        return self[key]


def test_dead_groups_do_not_pay_the_divergence():
    rollouts = groups(1)
    extras = {"reference_logprobs": torch.full((16, L), -1.0)}
    for name, paid in (("grpo", 16), ("grpo_kl_mixed", 12)):
        method = method_named(name, {"kl": 0.04})
        keep_N = rows_kept(method, rollouts.correct_N.float(), rollouts.group_N)
        logp = torch.full((16, L), -0.5, requires_grad=True)
        zero = torch.zeros(16, L)
        loss_NT = method.token_loss(logp, logp.detach(), zero, torch.ones(16, L), extras) * keep_N[:, None]
        counts = BatchCounts.of(torch.ones(16, L), keep_N)
        gradient = torch.autograd.grad(method.aggregate(loss_NT, torch.ones(16, L), counts), logp)[0]
        assert int((gradient != 0).any(1).sum()) == paid
        # 0.04 d k3 / d log pi = 0.04 (1 - e^-0.5), over 16 L tokens whoever pays
        assert gradient[0, 0] == pytest.approx(0.04 * (1 - 0.60653066) / (16 * L), rel=1e-5)


# ---------------------------------------------------------------- P4: length


def test_weights_of_long_and_short_wrong_answers():
    """10 and 100 tokens, A = -1 each: sequence mean 1/20 and 1/200; token mean 1/110 both; constant 100: 1/200 both."""
    mask = (torch.arange(100)[None] < torch.tensor([[10], [100]])).double()
    counts = BatchCounts.of(mask, max_new_tokens=100)
    for aggregate, short, long in ((obj.sequence_mean_token_mean, 1 / 20, 1 / 200), (obj.token_mean, 1 / 110, 1 / 110),
                                   (obj.token_sum_over_constant, 1 / 200, 1 / 200)):
        loss = mask.clone().requires_grad_()
        (weights,) = torch.autograd.grad(aggregate(loss, mask, counts), loss)
        assert (weights[0, 0].item(), weights[1, 0].item()) == (pytest.approx(short), pytest.approx(long))


# ---------------------------------------------------------------- P5: truncation


def cut_batch() -> Rollouts:
    """One chain, five answers: right; wrong; cut behind the right number; cut in the last line; cut behind a right line."""
    texts = ["3+5=8#8", "#9", "3+5=8#8", "3+5=", "3+5=8;"]
    finished = [True, True, False, False, False]
    problem = Problem("latent", "3+5:", "8", "chain:3,5", 1)
    mask = torch.ones(5, 4)
    zeros = torch.zeros(5, 4)
    return Rollouts([problem] * 5, torch.zeros(5, dtype=torch.long), [[]] * 5, zeros.long(), mask, zeros, zeros,
                    torch.tensor(finished), texts, verify([problem] * 5, texts, finished), max_new_tokens=4)


def test_three_treatments_of_what_was_cut():
    batch, found = cut_batch(), {}
    for treatment in truncation.TREATMENTS:
        method = methods.grpo_cut(treatment)
        found[treatment] = method.advantage(batch, method.reward(batch), Progress(0, 1))[:, 0]
    assert truncation.as_written(batch).tolist() == [1, 0, 1, 0, 1]
    one, two = adv.grpo(torch.tensor([1.0, 0, 0, 0, 0]), batch.group_N), adv.grpo(torch.tensor([1.0, 0, 1, 0, 1]), batch.group_N)
    assert torch.allclose(found["wrong"], one) and torch.allclose(found["as_written"], two)
    assert torch.allclose(found["mask"], one * torch.tensor([1.0, 1, 0, 0, 0]))  # the group's mean and spread are as before


@pytest.mark.parametrize(("text", "answer"), [
    ("3+5=8;8-2=6", "#8"), ("3+5=8;8-2=", "#8"), ("3+5=8;8-2=6;", "#6"), ("3+5=8?", "#8"), ("3+5=8#1", "3+5=8#1"), ("3+", "3+"),
    ("", ""),
])  # fmt: skip
def test_the_last_finished_line_is_what_was_said(text, answer):
    assert truncation.answer_so_far("chain", text) == answer  # a number without what follows it may go on
    assert truncation.answer_so_far("countdown", text) == text


def test_a_limit_cuts_where_it_is_set(babbler):
    pool = world_named("chain").draw("train", 4, 0)
    sampler = make_sampler(babbler)
    whole, short = (truncation.cut_at(limit)(sampler, ProblemStream(pool, 0), 4, 4, "seed") for limit in (0, 6))
    assert whole.max_new_tokens > 6 == short.max_new_tokens and not sampler.max_new_tokens  # the sampler stays as it was
    assert short.mask_NT.sum(1).max() == 6 and (~short.finished_N).any()


@pytest.mark.parametrize("limit", [-1, 2.5, True, "6"])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(ConfigError, match="limit"):
        method_named("grpo_cut", {"limit": limit})


def test_a_misspelt_treatment_is_refused():
    with pytest.raises(ConfigError, match="as_written"):
        method_named("nsr_cut", {"treatment": "as_writen"})


@pytest.mark.peers
def test_the_mask_is_trls_mean_over_sequences():
    """TRL empties the completion mask of a cut answer: it leaves the gradient, and stays in the mean over rows."""
    trl = pytest.importorskip("trl")
    batch = cut_batch()
    advantages = methods.grpo_cut("wrong").advantage(batch, batch.correct_N.float(), Progress(0, 1)).double()
    logp = torch.full((5, 4), -0.7, dtype=torch.float64, requires_grad=True)
    mask = (batch.mask_NT * batch.finished_N[:, None]).double()
    (theirs,) = torch.autograd.grad(_trl_loss(trl, "grpo", logp, advantages, mask), logp)
    ours = mechanism.token_weights(methods.grpo_cut("mask"), batch.but(logprobs_NT=batch.logprobs_NT - 0.7))
    assert torch.allclose(-theirs, ours.double(), atol=1e-7)
