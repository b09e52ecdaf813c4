"""Losses that turn rollouts and advantages into a gradient.

Every function here is pure: tensors in, tensors out, no model, no file, no
random number. To find out what a method *is*, read this file; sampling,
verification and optimisation live elsewhere.

A loss is made in two steps. A *token loss* gives one number per token, and an
*aggregation* adds those numbers up: papers differ in both, and a denominator
changes what is learned as much as a formula does.

    loss_NT = ppo_clip(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    loss    = token_mean(loss_NT, mask_NT, BatchCounts.of(mask_NT))

Axes are named by the last letters of a variable:

    N   rollouts in the batch (prompts x rollouts per prompt)
    T   token positions of the longest response; shorter ones are masked
    V   vocabulary

Padding may hold anything, also -inf and NaN: it is replaced before any
arithmetic, since 0 * inf is NaN, in a gradient as in a value.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Rounding can put a log-probability a little above zero; a larger excess is a mistake upstream.
LOGPROB_TOLERANCE = 1e-4
# exp() of a larger difference overflows in single precision; released codes limit it to the same value.
MAX_LOG_RATIO = 20.0


# ---------------------------------------------------------------- token losses


def policy_gradient(logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """REINFORCE's token loss, without an importance ratio.

        loss_nt = - A_nt log pi(y_nt)

    Exact for one update per batch of rollouts; later updates of the same batch are off-policy.

    Args:
        logprobs_NT: [N, T] log-probability of each sampled token under the policy being trained.
        old_logprobs_NT: [N, T] the same when the rollouts were drawn; unused here, present so
            that every token loss is called alike.
        advantages_NT: [N, T] advantages, held constant.
        mask_NT: [N, T] 1 on response tokens, 0 on padding.

    Returns:
        [N, T] loss, 0 on padding.

    Raises:
        ValueError: shapes differ; the mask holds other numbers than 0 and 1; on a response
            token a log-probability is above 0 or NaN, or an advantage is not finite.
    """
    logprobs_NT, _, advantages_NT, real_NT = clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    return on_tokens(-advantages_NT * logprobs_NT, real_NT)


def ppo_clip(
    logprobs_NT: Tensor,
    old_logprobs_NT: Tensor,
    advantages_NT: Tensor,
    mask_NT: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
) -> Tensor:
    """PPO's clipped token loss (GRPO, Dr. GRPO and DAPO's too; DAPO clips at 0.2 and 0.28).

        r = pi / pi_old
        loss = max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high))
        with dual_clip c, where A < 0:   loss = min(loss, -c A)

    A > 0 loses its gradient only above the upper bound, A < 0 only below the lower one.

    Source: arXiv 1707.06347; asymmetric bounds arXiv 2503.14476; dual clip arXiv 1912.09729.
    The dual clip is in no paper compared here, but the released codes switch it on (c = 3, DAPO 10).

    Args, returns, raises: as `policy_gradient`; ValueError also if dual_clip is not above 1.
    """
    if dual_clip is not None and dual_clip <= 1:
        raise ValueError(f"dual_clip bounds the ratio from above and must exceed 1; got {dual_clip}.")
    logprobs_NT, old_NT, advantages_NT, real_NT = clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    ratio_NT = _ratio(logprobs_NT, old_NT)
    loss_NT = _clipped(ratio_NT, advantages_NT, clip_low, clip_high)
    if dual_clip is not None:
        bounded_NT = torch.minimum(loss_NT, -dual_clip * advantages_NT)
        loss_NT = torch.where(advantages_NT < 0, bounded_NT, loss_NT)
    return on_tokens(loss_NT, real_NT)


def cispo(
    logprobs_NT: Tensor,
    old_logprobs_NT: Tensor,
    advantages_NT: Tensor,
    mask_NT: Tensor,
    clip_low: float = 1.0,
    clip_high: float = 0.28,
) -> Tensor:
    """REINFORCE weighted by a clipped, constant importance ratio.

        loss = - sg(clip(r, 1 - clip_low, 1 + clip_high)) A log pi        sg: no gradient

    Every token keeps a gradient; only its weight is bounded. Without the sg this would be
    another method, whose gradient vanishes where the ratio is clipped.

    Source: arXiv 2506.13585. Its lower bound is off (clip_low = 1 means zero); its upper one
    is not stated, 0.28 is ours, after DAPO.

    Args, returns, raises: as `policy_gradient`.
    """
    logprobs_NT, old_NT, advantages_NT, real_NT = clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    weight_NT = _ratio(logprobs_NT, old_NT).clamp(1 - clip_low, 1 + clip_high).detach()
    return on_tokens(-weight_NT * advantages_NT * logprobs_NT, real_NT)


def gspo(
    logprobs_NT: Tensor,
    old_logprobs_NT: Tensor,
    advantages_NT: Tensor,
    mask_NT: Tensor,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
) -> Tensor:
    """PPO with one ratio per response, written per token so that tokens may have weights.

        s_i    = exp( 1/|y_i| sum_t (log pi - log pi_old) )
        s_it   = sg(s_i) pi_it / sg(pi_it)                 equals s_i in value
        loss   = max(-A s_it, -A clip(s_it, 1 - clip_low, 1 + clip_high))

    With `sequence_mean_token_mean` and one advantage per response, value and gradient are
    those of the sequence form. A micro-batch must hold whole rows.

    Source: arXiv 2507.18071.

    Args, returns, raises: as `policy_gradient`.
    """
    logprobs_NT, old_NT, advantages_NT, real_NT = clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    length_N1 = real_NT.sum(dim=1, keepdim=True).clamp(min=1)
    mean_log_ratio_N1 = (logprobs_NT - old_NT).sum(dim=1, keepdim=True) / length_N1
    sequence_ratio_N1 = mean_log_ratio_N1.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp().detach()
    ratio_NT = sequence_ratio_N1 * (logprobs_NT - logprobs_NT.detach()).exp()
    return on_tokens(_clipped(ratio_NT, advantages_NT, clip_low, clip_high), real_NT)


# ---------------------------------------------------------------- added terms


def k3(logprobs_NT: Tensor, reference_logprobs_NT: Tensor, mask_NT: Tensor | None = None) -> Tensor:
    """Low-variance estimate of the divergence from a reference policy, per sampled token.

        d = log pi_ref - log pi,   k3 = e^d - d - 1  >= 0,   clamped to [-10, 10] as released

    Its gradient is zero where the two policies agree, and where the clamp acts.

    Source: arXiv 2402.03300; `low_var_kl` of verl.

    Args:
        logprobs_NT: [N, T] under the policy being trained.
        reference_logprobs_NT: [N, T] under the reference.
        mask_NT: [N, T] or None; needed only if padding may hold infinities.

    Returns:
        [N, T] estimates, 0 on padding if a mask is given.

    Raises:
        ValueError: shapes differ.
    """
    same_shape(logprobs=logprobs_NT, reference_logprobs=reference_logprobs_NT)
    difference_NT = reference_logprobs_NT.detach() - logprobs_NT
    if mask_NT is not None:
        same_shape(logprobs=logprobs_NT, mask=mask_NT)
        real_NT = mask_NT > 0
        difference_NT = on_tokens(reference_logprobs_NT.detach(), real_NT) - on_tokens(logprobs_NT, real_NT)
    difference_NT = difference_NT.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return (torch.expm1(difference_NT) - difference_NT).clamp(-10, 10)


def entropy_from_logits(logits: Tensor) -> Tensor:
    """Entropy in nats of each distribution: H = - sum_v pi_v log pi_v.

    Args:
        logits: [..., V], unnormalised; -inf marks a token that cannot be drawn.

    Returns:
        [...] entropy between 0 and log V. Differentiable.

    Raises:
        ValueError: logits have no vocabulary axis.
    """
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"logits need a vocabulary axis at the end; got {list(logits.shape)}.")
    logprobs = logits.log_softmax(dim=-1)
    # A finite floor, because 0 * -inf would be NaN for a forbidden token.
    return -(logprobs.exp() * logprobs.clamp(min=torch.finfo(logits.dtype).min)).sum(dim=-1)


# ---------------------------------------------------------------- aggregations


@dataclass(frozen=True)
class BatchCounts:
    """What a loss may be divided by, counted over the *whole* batch.

    Each aggregation divides by these and not by what it finds in its arguments, so
    adding up micro-batches gives exactly the loss of the batch.

    Attributes:
        tokens: response tokens of all rollouts.
        rollouts: all rollouts.
        kept_tokens, kept_rollouts: those of the rollouts a method keeps ("negatives only").
        max_new_tokens: the generation budget; 0 when it was not given.
    """

    tokens: int
    rollouts: int
    kept_tokens: int
    kept_rollouts: int
    max_new_tokens: int

    @classmethod
    def of(cls, mask_NT: Tensor, keep_N: Tensor | None = None, max_new_tokens: int | None = None) -> "BatchCounts":
        """Count a whole batch.

        Args:
            mask_NT: [N, T] 1 on response tokens of all rollouts, kept or not.
            keep_N: [N] true for the rollouts that are trained on; None keeps all.
            max_new_tokens: the generation budget. Not guessed from T: dividing by the longest
                response of the batch instead is the common bug of Dr. GRPO copies.

        Raises:
            ValueError: the mask is not [N, T] or keep_N is not [N].
        """
        if mask_NT.ndim != 2:
            raise ValueError(f"mask must have shape [N, T]; got {list(mask_NT.shape)}.")
        length_N = (mask_NT > 0).sum(dim=1)
        if keep_N is None:
            keep_N = torch.ones_like(length_N, dtype=torch.bool)
        if keep_N.shape != length_N.shape:
            raise ValueError(f"keep must have shape [{len(length_N)}], as the mask's rows; got {list(keep_N.shape)}.")
        keep_N = keep_N.to(length_N.device) > 0
        return cls(
            tokens=int(length_N.sum()),
            rollouts=len(length_N),
            kept_tokens=int(length_N[keep_N].sum()),
            kept_rollouts=int(keep_N.sum()),
            max_new_tokens=int(max_new_tokens or 0),
        )


def token_mean(loss_NT: Tensor, mask_NT: Tensor, counts: BatchCounts) -> Tensor:
    """Sum over tokens, divided by the response tokens of all rollouts (DAPO, CISPO).

    Dropped rollouts stay in the denominator, so the two polarities add up to the whole.

    Args:
        loss_NT: [N, T] token loss of a batch or of some of its rows. Dropped rollouts are
            left out or masked to zero by the caller.
        mask_NT: [N, T] 1 on response tokens of these rows.
        counts: of the whole batch.

    Returns:
        Scalar loss; zero, with a graph, when the count is zero.

    Raises:
        ValueError: shapes differ.
    """
    return _divided(_total(loss_NT, mask_NT), counts.tokens)


def kept_token_mean(loss_NT: Tensor, mask_NT: Tensor, counts: BatchCounts) -> Tensor:
    """Sum over tokens, divided by the response tokens of the kept rollouts only.

    The step does not shrink when the kept polarity is rare.

    Args, returns, raises: as `token_mean`.
    """
    return _divided(_total(loss_NT, mask_NT), counts.kept_tokens)


def kept_token_mean_times_share(loss_NT: Tensor, mask_NT: Tensor, counts: BatchCounts) -> Tensor:
    """Mean over kept tokens, times the share of rollouts kept.

        kept_rollouts / rollouts  *  1/kept_tokens sum_nt loss_nt

    What the codes of RLVR-Decomposed and DISSECT compute: a micro-batch's token mean is
    weighted by its rows over the rows of a *full* mini-batch, so dropped rows shrink the step.
    There the mean is over each micro-batch; here over the batch, whatever the split.

    Args, returns, raises: as `token_mean`.
    """
    share = counts.kept_rollouts / max(counts.rollouts, 1)
    return share * kept_token_mean(loss_NT, mask_NT, counts)


def sequence_mean_token_mean(loss_NT: Tensor, mask_NT: Tensor, counts: BatchCounts) -> Tensor:
    """Mean over rollouts of the mean over each rollout's tokens.

        1/rollouts sum_i 1/|y_i| sum_t loss_it

    GRPO, GSPO, and PSR/NSR as A3PO's code runs them. A token of a short answer weighs more. A
    rollout without tokens counts as zero.

    Args, returns, raises: as `token_mean`.
    """
    loss_NT, real_NT = _checked(loss_NT, mask_NT)
    length_N = real_NT.sum(dim=1).clamp(min=1)
    return _divided((loss_NT.sum(dim=1) / length_N).sum(), counts.rollouts)


def sequence_mean_token_sum(loss_NT: Tensor, mask_NT: Tensor, counts: BatchCounts) -> Tensor:
    """Mean over rollouts of the sum over each rollout's tokens: 1/rollouts sum_it loss_it (RLOO).

    The gradient of expected reward with no length bias, since log pi(y|x) is that sum.

    Args, returns, raises: as `token_mean`.
    """
    return _divided(_total(loss_NT, mask_NT), counts.rollouts)


def token_sum_over_constant(loss_NT: Tensor, mask_NT: Tensor, counts: BatchCounts) -> Tensor:
    """Sum over tokens, divided by rollouts * max_new_tokens (Dr. GRPO).

    Source: arXiv 2503.20783; the constant is the generation budget, not the padded length.

    Args, returns, raises: as `token_mean`; ValueError also if counts lack the budget.
    """
    if counts.max_new_tokens <= 0:
        raise ValueError("this aggregation divides by the generation budget: BatchCounts.of(..., max_new_tokens=...).")
    return _divided(_total(loss_NT, mask_NT), counts.rollouts * counts.max_new_tokens)


# ---------------------------------------------------------------- helpers


def same_shape(**tensors: Tensor) -> None:
    """ValueError naming every shape unless all are equal and [N, T]."""
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    first = next(iter(shapes.values()))
    if len(first) != 2 or any(shape != first for shape in shapes.values()):
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"all must have one shape [N, T]; got {told}.")


def on_tokens(values_NT: Tensor, real_NT: Tensor) -> Tensor:
    """Zero on padding. `where`, not a product: 0 * inf is NaN."""
    return torch.where(real_NT, values_NT, torch.zeros_like(values_NT))


def real_tokens(mask_NT: Tensor) -> Tensor:
    """[N, T] bool: response tokens. ValueError for a mask that holds anything but 0 and 1."""
    real_NT = mask_NT > 0
    if mask_NT.dtype != torch.bool and not (mask_NT == real_NT).all():
        raise ValueError("a mask holds 0 and 1 only; put token weights into the advantages.")
    return real_NT


def clean(
    logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Check the four inputs of a token loss; constants detached, padding replaced by zero."""
    same_shape(logprobs=logprobs_NT, old_logprobs=old_logprobs_NT, advantages=advantages_NT, mask=mask_NT)
    real_NT = real_tokens(mask_NT)
    logprobs_NT = on_tokens(logprobs_NT, real_NT)
    old_NT = on_tokens(old_logprobs_NT.detach(), real_NT)
    advantages_NT = on_tokens(advantages_NT.detach(), real_NT).to(logprobs_NT.dtype)
    for name, values_NT in (("log-probability", logprobs_NT), ("old log-probability", old_NT)):
        # Written as "not below", so that NaN is refused too.
        wrong_NT = ~(values_NT.detach() <= LOGPROB_TOLERANCE)
        if wrong_NT.any():
            raise ValueError(
                f"{int(wrong_NT.sum())} response token(s) have a {name} above 0 or NaN: were logits passed instead?"
            )
    if not torch.isfinite(advantages_NT).all():
        raise ValueError("an advantage on a response token is NaN or infinite.")
    return logprobs_NT, old_NT, advantages_NT, real_NT


def _ratio(logprobs_NT: Tensor, old_NT: Tensor) -> Tensor:
    return (logprobs_NT - old_NT).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def _clipped(ratio_NT: Tensor, advantages_NT: Tensor, clip_low: float, clip_high: float) -> Tensor:
    clipped_NT = ratio_NT.clamp(1 - clip_low, 1 + clip_high)
    return torch.maximum(-advantages_NT * ratio_NT, -advantages_NT * clipped_NT)


def _checked(loss_NT: Tensor, mask_NT: Tensor) -> tuple[Tensor, Tensor]:
    same_shape(loss=loss_NT, mask=mask_NT)
    real_NT = real_tokens(mask_NT)
    return on_tokens(loss_NT, real_NT), real_NT


def _total(loss_NT: Tensor, mask_NT: Tensor) -> Tensor:
    return _checked(loss_NT, mask_NT)[0].sum()


def _divided(total: Tensor, count: int) -> Tensor:
    """total / count; with nothing to count, a zero that still has a graph, so backward() works."""
    return total / count if count else total * 0
