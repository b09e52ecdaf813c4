"""Losses a reader can redo with a pencil, then what holds for any batch, then TRL's own arithmetic."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from token_losses import (
    ADVANTAGES, AGGREGATIONS, JUNK, LOGITS, LOGPROBS, MASK, batches, by_name, check_padding, check_refusals, check_splits,
    one_token, value_and_gradient,
)  # fmt: skip

from polarity_lib import advantages as adv
from polarity_lib import objectives as obj
from polarity_lib.objectives import BatchCounts

TOKEN_LOSSES = [obj.policy_gradient, obj.ppo_clip, obj.cispo, obj.gspo]


# ---------------------------------------------------------------- a weight per polarity


def loss(positive_weight, negative_weight):
    signal = adv.weight_polarities(adv.expand(ADVANTAGES, MASK), torch.tensor([1.0, 0.0]), positive_weight, negative_weight)
    return obj.token_mean(obj.policy_gradient(LOGPROBS, LOGPROBS, signal, MASK), MASK, BatchCounts.of(MASK)).item()


def test_each_polarity_by_hand():
    assert loss(1, 0) == pytest.approx(1.5 / 3)  # -(+1)(-0.5 - 1.0) / 3
    assert loss(0, 1) == pytest.approx(-2.0 / 3)  # -(-1)(-2.0) / 3; -9 is padding


def test_the_two_polarities_add_up():
    assert loss(1, 1) == pytest.approx(loss(1, 0) + loss(0, 1))


def test_a_negative_step_moves_probability_to_the_other_tokens():
    logits = torch.zeros(1, 1, 3, requires_grad=True)  # [N, T, V]
    sampled = logits.log_softmax(-1)[..., 0]
    obj.policy_gradient(sampled, sampled.detach(), -torch.ones(1, 1), torch.ones(1, 1)).sum().backward()
    # Descent lowers the sampled token by 2/3 and raises each other one by 1/3.
    assert torch.allclose(-logits.grad.flatten(), torch.tensor([-2 / 3, 1 / 3, 1 / 3]))


# ---------------------------------------------------------------- token losses by hand


def test_the_loss_without_a_ratio_by_hand():
    # pi = 0.25. Loss and derivative by log pi.
    assert one_token(obj.policy_gradient, 1.0, 2.0) == pytest.approx((2 * math.log(4), -2))


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "gradient"),
    [
        (1.0, 1.0, -1.0, -1.0),
        (1.1, 1.0, -1.1, -1.1),
        (1.5, 1.0, -1.2, 0.0),  # a rising good token is held at the upper bound
        (0.5, 1.0, -0.5, -0.5),  # a falling good token is pulled back in full
        (0.5, -1.0, 0.8, 0.0),  # a falling bad token is held at the lower bound
        (1.5, -1.0, 1.5, 1.5),  # a rising bad token is pushed down in full
    ],
)
def test_ppo_clips_in_one_direction_per_sign(ratio, advantage, value, gradient):
    assert one_token(obj.ppo_clip, ratio, advantage) == pytest.approx((value, gradient))


def test_the_bounds_are_separate_and_dual_clip_acts_on_negatives_only():
    assert one_token(obj.ppo_clip, 1.25, 1.0, clip_high=0.28) == pytest.approx((-1.25, -1.25))
    assert one_token(obj.ppo_clip, 0.75, -1.0, clip_high=0.28) == pytest.approx((0.8, 0))
    assert one_token(obj.ppo_clip, 3.5, -2.0) == pytest.approx((7.0, 7.0))
    assert one_token(obj.ppo_clip, 3.5, -2.0, dual_clip=3.0) == pytest.approx((6.0, 0.0))
    assert one_token(obj.ppo_clip, 3.5, 2.0, dual_clip=3.0) == pytest.approx((-2.4, 0.0))
    with pytest.raises(ValueError, match="exceed 1"):
        one_token(obj.ppo_clip, 1.0, 1.0, dual_clip=1.0)


@pytest.mark.parametrize(("ratio", "weight"), [(1.0, 1.0), (1.5, 1.28), (0.01, 0.01)])
@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_cispo_bounds_the_weight_but_never_the_gradient_away(ratio, weight, advantage):
    expected = (-weight * advantage * math.log(0.25 * ratio), -weight * advantage)
    assert one_token(obj.cispo, ratio, advantage) == pytest.approx(expected)


def sequence_gspo(logprobs, old, advantages_N, mask, low, high):
    """The form printed in the GSPO paper: one ratio and one clip per response."""
    ratio = ((logprobs - old) * mask).sum(1).div(mask.sum(1)).exp()
    return torch.maximum(-advantages_N * ratio, -advantages_N * ratio.clamp(1 - low, 1 + high)).mean()


@pytest.mark.parametrize("drift", [0.0, 1e-4, 0.01])
def test_gspo_per_token_equals_the_sequence_form(drift):
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(4, 3, generator=generator, dtype=torch.float64) - 0.1
    logprobs = (old + drift * torch.randn(4, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
    advantages = torch.tensor([1.0, -1.0, 0.5, -2.0], dtype=torch.float64)
    tokens = obj.gspo(logprobs, old, adv.expand(advantages, mask), mask)
    ours = obj.sequence_mean_token_mean(tokens, mask, BatchCounts.of(mask))
    theirs = sequence_gspo(logprobs, old, advantages, mask, 3e-4, 4e-4)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)
    gradients = [torch.autograd.grad(value, logprobs, retain_graph=True)[0] for value in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-12)


# ---------------------------------------------------------------- aggregations by hand

LOSS = torch.tensor([[1.0, 2.0], [6.0, 0.0]])
COUNTS = BatchCounts.of(MASK, keep_N=torch.tensor([True, False]), max_new_tokens=10)


def test_counts_are_of_the_whole_batch():
    assert COUNTS == BatchCounts(tokens=3, rollouts=2, kept_tokens=2, kept_rollouts=1, max_new_tokens=10)
    assert BatchCounts.of(MASK) == BatchCounts(3, 2, 3, 2, 0)


@pytest.mark.parametrize(
    ("aggregate", "both", "first_only"),
    [
        (obj.token_mean, 9 / 3, 3 / 3),
        (obj.kept_token_mean, 9 / 2, 3 / 2),
        (obj.kept_token_mean_times_share, 9 / 4, 1 / 2 * 3 / 2),
        (obj.sequence_mean_token_mean, (1.5 + 6) / 2, 1.5 / 2),
        (obj.sequence_mean_token_sum, (3 + 6) / 2, 3 / 2),
        (obj.token_sum_over_constant, 9 / 20, 3 / 20),
    ],
)
def test_each_aggregation_by_hand(aggregate, both, first_only):
    assert aggregate(LOSS, MASK, COUNTS).item() == pytest.approx(both)
    assert aggregate(LOSS[:1], MASK[:1], COUNTS).item() == pytest.approx(first_only)  # a dropped row, left out
    dropped = MASK * torch.tensor([[1.0], [0.0]])
    assert aggregate(LOSS, dropped, COUNTS).item() == pytest.approx(first_only)  # the same row, masked


@pytest.mark.parametrize("aggregate", [obj.kept_token_mean, obj.kept_token_mean_times_share], **by_name)
@pytest.mark.parametrize("rows", [0, 2])
def test_nothing_kept_is_a_zero_that_can_be_differentiated(aggregate, rows):
    nothing = BatchCounts.of(MASK, keep_N=torch.tensor([False, False]))
    tokens = LOSS[:rows].clone().requires_grad_()
    value = aggregate(tokens, torch.zeros_like(tokens), nothing)
    value.backward()
    assert value.item() == 0
    assert (tokens.grad == 0).all()


def test_dr_grpo_needs_the_budget():
    with pytest.raises(ValueError, match="budget"):
        obj.token_sum_over_constant(LOSS, MASK, BatchCounts.of(MASK))


# ---------------------------------------------------------------- for any batch


@pytest.mark.parametrize("token_loss", TOKEN_LOSSES, **by_name)
@given(batch=batches(), extra=st.integers(0, 3), junk=st.sampled_from(JUNK))
def test_padding_changes_nothing(token_loss, batch, extra, junk):
    check_padding(token_loss, batch, extra, junk)


@pytest.mark.parametrize("token_loss", TOKEN_LOSSES, **by_name)
@given(batch=batches(), cut=st.integers(0, 5), flip=st.booleans())
def test_micro_batches_and_the_order_of_rows_change_nothing(token_loss, batch, cut, flip):
    check_splits(token_loss, batch, cut, flip)


@given(batch=batches())
def test_polarities_add_up_only_under_a_common_denominator(batch):
    logprobs, old, advantages, mask = batch
    right = advantages[:, 0] > 0
    tokens = obj.ppo_clip(logprobs, old, advantages, mask)
    for aggregate in AGGREGATIONS:
        if aggregate in (obj.kept_token_mean, obj.kept_token_mean_times_share):
            continue  # they divide by what is kept, which is what the released codes do
        whole = aggregate(tokens, mask, BatchCounts.of(mask, max_new_tokens=9))
        parts = [
            aggregate(tokens[keep], mask[keep], BatchCounts.of(mask, keep, max_new_tokens=9))
            for keep in (right, ~right)
        ]
        assert torch.allclose(whole, sum(parts))


# ---------------------------------------------------------------- cross-checks between methods


@pytest.mark.parametrize("aggregate", AGGREGATIONS, **by_name)
def test_with_one_update_per_batch_the_ratio_methods_are_one_gradient(aggregate):
    rewards, groups = torch.tensor([1.0, 0.0, 0.0, 1.0]).double(), torch.tensor([0, 0, 0, 0])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
    logprobs = -torch.rand(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.1
    batch = (logprobs, logprobs.clone(), adv.expand(adv.grpo(rewards, groups), mask), mask)
    counts = BatchCounts.of(mask, max_new_tokens=8)

    def dapo(*inputs):
        return obj.ppo_clip(*inputs, clip_low=0.2, clip_high=0.28)

    _, reinforce = value_and_gradient(obj.policy_gradient, aggregate, batch, counts)
    for token_loss in (obj.ppo_clip, dapo, obj.cispo, obj.gspo):
        _, gradient = value_and_gradient(token_loss, aggregate, batch, counts)
        assert torch.allclose(gradient, reinforce, atol=1e-15)


@pytest.mark.parametrize("rewards", [torch.ones(4), torch.zeros(4)])
def test_uniform_groups_teach_constants_only(rewards):
    mask = torch.ones(4, 2)
    logprobs = torch.full((4, 2), -1.0)

    def gradient(advantages):
        batch = (logprobs, logprobs, adv.expand(advantages, mask), mask)
        return value_and_gradient(obj.ppo_clip, obj.token_mean, batch, BatchCounts.of(mask))[1]

    groups = torch.tensor([0, 0, 1, 1])
    for baseline in (adv.grpo, adv.dr_grpo, adv.rloo):
        assert (gradient(baseline(rewards, groups)) == 0).all()
    assert (gradient(adv.signed_constant(rewards)) != 0).all()


def test_a_clipped_token_is_dead_in_ppo_and_alive_in_cispo():
    assert one_token(obj.ppo_clip, 2.0, 1.0)[1] == 0
    assert one_token(obj.cispo, 2.0, 1.0)[1] == pytest.approx(-1.28)


# ---------------------------------------------------------------- gradients


def test_gradcheck_of_the_smooth_losses():
    old = torch.tensor([[-1.0, -0.4]], dtype=torch.float64)
    logprobs = (old + 0.05).requires_grad_()  # inside every clip
    advantages, mask = torch.tensor([[1.5, -0.7]], dtype=torch.float64), torch.ones(1, 2)
    for token_loss in (obj.policy_gradient, obj.ppo_clip):
        assert torch.autograd.gradcheck(lambda x, f=token_loss: f(x, old, advantages, mask), logprobs)
    assert torch.autograd.gradcheck(lambda x: obj.k3(x, old), logprobs)


# ---------------------------------------------------------------- divergence and entropy


def test_k3_by_hand():
    logprobs = torch.log(torch.tensor([[0.5, 0.5]]))
    reference = torch.log(torch.tensor([[0.25, 0.5]]))
    # d = log(1/2): 0.5 + log 2 - 1
    assert obj.k3(logprobs, reference).tolist() == [[pytest.approx(math.log(2) - 0.5), 0]]


@given(batch=batches())
def test_k3_is_never_negative_and_flat_where_policies_agree(batch):
    logprobs, reference, _, _ = batch
    assert (obj.k3(logprobs, reference) >= 0).all()
    same = logprobs.clone().requires_grad_()
    obj.k3(same, logprobs).sum().backward()
    assert (same.grad == 0).all()


def test_k3_is_bounded_and_ignores_padding():
    far = torch.tensor([[-500.0, -math.inf]], requires_grad=True)
    value = obj.k3(far, torch.tensor([[-1.0, -math.inf]]), torch.tensor([[1, 0]]))
    value.sum().backward()
    assert value.tolist() == [[10, 0]]
    assert torch.isfinite(far.grad).all()


def test_k3_averages_to_the_divergence():
    pi, reference = LOGITS.softmax(-1), (LOGITS / 2).softmax(-1)  # near enough that no clamp acts
    expected = (pi * obj.k3(pi.log()[None], reference.log()[None])[0]).sum()
    assert expected.item() == pytest.approx((pi * (pi / reference).log()).sum().item())


def test_entropy_by_hand():
    assert obj.entropy_from_logits(torch.zeros(2, 3, 8)).flatten().tolist() == pytest.approx([math.log(8)] * 6)
    assert obj.entropy_from_logits(torch.tensor([0.0, -math.inf])).item() == 0  # only one token possible


def test_entropy_gradient_is_the_entropy_bonus_of_appendix_b():
    # d H / d z_v = - pi_v (log pi_v + H), also with a forbidden token.
    logits = torch.cat([LOGITS, torch.tensor([-math.inf])]).requires_grad_()
    entropy = obj.entropy_from_logits(logits)
    entropy.backward()
    pi = LOGITS.softmax(-1)
    assert torch.allclose(logits.grad[:-1], -pi * (pi.log() + entropy.detach()))
    assert logits.grad[-1] == 0


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("token_loss", TOKEN_LOSSES, **by_name)
def test_bad_inputs_are_refused(token_loss):
    check_refusals(token_loss)


def test_shapes_of_the_other_functions_are_checked():
    for aggregate in AGGREGATIONS:
        with pytest.raises(ValueError, match=r"loss \[2, 2\], mask \[2, 1\]"):
            aggregate(LOSS, MASK[:, :1], COUNTS)
    with pytest.raises(ValueError, match="one shape"):
        obj.k3(LOGPROBS, LOGPROBS[:1])
    with pytest.raises(ValueError, match="vocabulary"):
        obj.entropy_from_logits(torch.tensor(0.0))
    with pytest.raises(ValueError, match="keep must have shape"):
        BatchCounts.of(MASK, torch.ones(3))


def test_a_huge_ratio_gives_no_nan():
    for advantage in (1.0, -1.0):
        logprobs = torch.full((1, 1), -1e-3, requires_grad=True)
        advantages, mask = torch.full((1, 1), advantage), torch.ones(1, 1)
        for token_loss in (obj.ppo_clip, obj.cispo, obj.gspo):
            tokens = token_loss(logprobs, torch.full((1, 1), -500.0), advantages, mask)
            (gradient,) = torch.autograd.grad(tokens.sum(), logprobs)
            assert torch.isfinite(tokens).all()
            assert torch.isfinite(gradient).all()


# ---------------------------------------------------------------- TRL's own arithmetic


def trl_loss(loss_type, batch, **options):
    """Run GRPOTrainer's own loss on given numbers: a stand-in for self, no model, no training."""
    trainer_module = pytest.importorskip(
        "trl.trainer.grpo_trainer", reason="TRL, or something it imports, is not installed", exc_type=ImportError
    )
    logprobs, old, advantages, mask = batch
    settings = {
        "importance_sampling_level": "token", "epsilon_low": 0.2, "epsilon_high": 0.28, "beta": 0.0,
        "reference": old, "max_completion_length": 9, **options,
    }  # fmt: skip
    metrics = {"train": defaultdict(list)}
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None),
        loss_type=loss_type, top_entropy_quantile=1.0, off_policy_mask_threshold=None, aux_loss_enabled=False,
        use_vllm=False, _entropy_bonus_enabled=False, current_gradient_accumulation_steps=1, _metrics=metrics,
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x),
        **settings,
    )  # fmt: skip
    tokens = torch.zeros(mask.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": tokens[:, :1], "prompt_mask": tokens[:, :1] + 1,
        "completion_ids": tokens, "completion_mask": mask, "advantages": advantages[:, 0],
        "old_per_token_logps": old, "ref_per_token_logps": settings["reference"], "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    return trainer_module.GRPOTrainer._compute_loss(trainer, None, inputs)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("loss_type", "options", "token_loss", "aggregate"),
    [
        ("grpo", {}, lambda *b: obj.ppo_clip(*b, clip_high=0.28), obj.sequence_mean_token_mean),
        ("dapo", {}, lambda *b: obj.ppo_clip(*b, clip_high=0.28), obj.token_mean),
        ("dr_grpo", {}, lambda *b: obj.ppo_clip(*b, clip_high=0.28), obj.token_sum_over_constant),
        # TRL states the upper bound of CISPO itself, not its distance from one.
        ("cispo", {"epsilon_high": 1.28}, obj.cispo, obj.token_mean),
        (
            "grpo",
            {"importance_sampling_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4},
            obj.gspo,
            obj.sequence_mean_token_mean,
        ),
    ],
    ids=["grpo", "dapo", "dr_grpo", "cispo", "gspo"],
)
def test_values_and_gradients_equal_trl(loss_type, options, token_loss, aggregate):
    generator = torch.Generator().manual_seed(3)
    old = -2 * torch.rand(6, 5, generator=generator, dtype=torch.float64) - 0.5
    logprobs = (old + 0.3 * torch.randn(6, 5, generator=generator, dtype=torch.float64)).requires_grad_()
    mask = (torch.arange(5) < torch.tensor([[5], [4], [3], [2], [1], [5]])).double()
    advantages = torch.randn(6, 1, generator=generator, dtype=torch.float64).repeat(1, 5)
    batch = (logprobs, old, advantages, mask)
    theirs = trl_loss(loss_type, batch, **options)
    ours = aggregate(token_loss(*batch), mask, BatchCounts.of(mask, max_new_tokens=9))
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)
    gradients = [torch.autograd.grad(value, logprobs)[0] for value in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-12)


@pytest.mark.peers
def test_k3_and_entropy_equal_trl():
    generator = torch.Generator().manual_seed(4)
    logprobs = -torch.rand(2, 3, generator=generator, dtype=torch.float64)
    reference = -torch.rand(2, 3, generator=generator, dtype=torch.float64)
    mask = torch.ones(2, 3, dtype=torch.float64)
    batch = (logprobs, logprobs, torch.zeros(2, 3, dtype=torch.float64), mask)
    theirs = trl_loss("dapo", batch, beta=1.0, reference=reference)  # advantages of zero leave the divergence alone
    assert obj.k3(logprobs, reference).mean().item() == pytest.approx(theirs.item())
    utils = pytest.importorskip("trl.trainer.utils", exc_type=ImportError)
    logits = torch.randn(2, 3, 11, generator=generator, dtype=torch.float64)
    assert torch.allclose(obj.entropy_from_logits(logits), utils.entropy_from_logits(logits))
