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

import math
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
    logprobs_NT, _, advantages_NT, real_NT = _clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    return _on_tokens(-advantages_NT * logprobs_NT, real_NT)


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
    logprobs_NT, old_NT, advantages_NT, real_NT = _clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    ratio_NT = _ratio(logprobs_NT, old_NT)
    loss_NT = _clipped(ratio_NT, advantages_NT, clip_low, clip_high)
    if dual_clip is not None:
        bounded_NT = torch.minimum(loss_NT, -dual_clip * advantages_NT)
        loss_NT = torch.where(advantages_NT < 0, bounded_NT, loss_NT)
    return _on_tokens(loss_NT, real_NT)


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
    logprobs_NT, old_NT, advantages_NT, real_NT = _clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    weight_NT = _ratio(logprobs_NT, old_NT).clamp(1 - clip_low, 1 + clip_high).detach()
    return _on_tokens(-weight_NT * advantages_NT * logprobs_NT, real_NT)


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
    logprobs_NT, old_NT, advantages_NT, real_NT = _clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    length_N1 = real_NT.sum(dim=1, keepdim=True).clamp(min=1)
    mean_log_ratio_N1 = (logprobs_NT - old_NT).sum(dim=1, keepdim=True) / length_N1
    sequence_ratio_N1 = mean_log_ratio_N1.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp().detach()
    ratio_NT = sequence_ratio_N1 * (logprobs_NT - logprobs_NT.detach()).exp()
    return _on_tokens(_clipped(ratio_NT, advantages_NT, clip_low, clip_high), real_NT)


def fork_tokens(
    logprobs_NT: Tensor,
    old_logprobs_NT: Tensor,
    advantages_NT: Tensor,
    mask_NT: Tensor,
    entropies_NT: Tensor,
    fraction: float = 0.2,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
) -> Tensor:
    """DAPO on the tokens of highest entropy only, where an answer can fork.

        n = response tokens given,   F = the ceil(fraction n) of highest entropy among all of them
        loss = n / |F|  1[t in F]  max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high))

    The factor makes `token_mean` divide by the selected tokens, as the released code does: with a
    fifth of them, weights are 0 and 5. Fraction 1 is `ppo_clip`. Among equal entropies the first in
    reading order are taken. The ranking is over the tokens *given*, so rows of other micro-batches
    do not count, as in the released code.

    Source: arXiv 2506.01939; repository Shenzhi-Wang/Beyond-the-80-20-Rule-RLVR. Whether the
    paper's formula divides by all or by selected tokens is unverified.

    Args, returns, raises: as `policy_gradient`, and
        entropies_NT: [N, T] entropy of the current policy at each token, held constant.
        fraction: in (0, 1].
        ValueError also if fraction is outside (0, 1] or an entropy is negative or not finite.
    """
    _check_between("fraction", fraction, 0 < fraction <= 1, "(0, 1]")
    loss_NT = ppo_clip(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT, clip_low, clip_high)
    _same_shape(logprobs=logprobs_NT, entropies=entropies_NT)
    real_NT = _real(mask_NT)
    entropies_NT = _on_tokens(entropies_NT.detach(), real_NT)
    if not ((entropies_NT >= -LOGPROB_TOLERANCE) & torch.isfinite(entropies_NT)).all():
        raise ValueError("an entropy on a response token is negative, NaN or infinite.")
    tokens = int(real_NT.sum())
    # 0.07 * 100 is 7.000000000000001 in floating point, whose ceiling would be 8.
    count = min(tokens, max(1, math.ceil(fraction * tokens - 1e-9)))
    chosen_NT = _lowest(-entropies_NT, real_NT, count)
    return _on_tokens(loss_NT * (tokens / max(count, 1)), chosen_NT)


def lp_reg(
    logprobs_NT: Tensor,
    old_logprobs_NT: Tensor,
    advantages_NT: Tensor,
    mask_NT: Tensor,
    old_top_logprobs_NT: Tensor,
    old_kept_logmass_NT: Tensor,
    rho: float = 0.01,
    beta: float = 1.0,
    kappa: float = 0.02,
) -> Tensor:
    """Lp-Reg: wrong answers may not punish away tokens that are rare but sensible.

        proxy = pi_old / Z   where pi_old >= kappa max_v pi_old(v),   0 elsewhere
                Z: the mass of the tokens kept
        L     = the floor(rho n) lowest pi of the n tokens with A < 0; none if that is 1 or 0
        S     = those of L with pi < proxy
        loss  = -A r + beta k3(pi, proxy)                  in S
                max(-A r, -A clip(r, 0, 10))               elsewhere

    A token that the filter removed has proxy 0 and is never protected. rho = 0 is `ppo_clip` with
    bounds 1 and 9. `k3` on the sampled token stands for a divergence over the vocabulary; as it is
    held at 10, it stops pulling where pi is below about a fourteenth of the proxy.

    Source: arXiv 2510.03222; repository CarlanLark/Lp-Reg-dev, which ranks within a micro-batch as
    well. rho is 0.01 or 0.005, beta 1 and kappa 0.02 there; aggregation `token_mean`.

    Args, returns, raises: as `policy_gradient`, and
        old_top_logprobs_NT: [N, T] log max_v pi_old(v), from `filtered_mass`.
        old_kept_logmass_NT: [N, T] log Z, from `filtered_mass` with the same kappa.
        ValueError also if these are above 0, not finite, or the mass is below its largest part; if rho
            is outside [0, 1], kappa outside (0, 1], or beta negative or not finite.
    """
    _check_between("rho", rho, 0 <= rho <= 1, "[0, 1]")
    _check_between("beta", beta, 0 <= beta < math.inf, "[0, infinity)")
    loss_NT = ppo_clip(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT, clip_low=1.0, clip_high=9.0)
    logprobs_NT, old_NT, advantages_NT, real_NT = _clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    proxy_NT = _proxy(old_NT, old_top_logprobs_NT, old_kept_logmass_NT, real_NT, kappa)
    punished_NT = real_NT & (advantages_NT < 0)
    count = math.floor(rho * int(punished_NT.sum()) + 1e-9)
    rare_NT = _lowest(logprobs_NT.detach(), punished_NT, count if count > 1 else 0)
    protected_NT = rare_NT & (logprobs_NT.detach() < proxy_NT)
    # Where A < 0 the bounds [0, 10] change nothing, since r is above 0 and max takes the larger
    # loss: -A r is already there. k3 sees only S, so the proxy's -inf elsewhere reaches no gradient.
    return loss_NT + beta * k3(logprobs_NT, proxy_NT, protected_NT)


def filtered_mass(old_logprobs_NTV: Tensor, kappa: float = 0.02) -> tuple[Tensor, Tensor]:
    """What `lp_reg` needs to know of the old policy's whole vocabulary, two numbers per token.

        top = max_v log pi_old(v),   mass = log sum of pi_old(v) over v with pi_old(v) >= kappa e^top

    Args:
        old_logprobs_NTV: [N, T, V] (or any axes before V) log-probabilities of every token of the
            vocabulary; -inf marks a token that cannot be drawn. Padding may hold NaN.
        kappa: in (0, 1]; how much rarer than the likeliest token a kept one may be.

    Returns:
        (top_NT, mass_NT), constants.

    Raises:
        ValueError: no vocabulary axis, a log-probability above 0, or kappa is outside (0, 1].
    """
    _check_between("kappa", kappa, 0 < kappa <= 1, "(0, 1]")
    if old_logprobs_NTV.ndim == 0 or old_logprobs_NTV.shape[-1] == 0:
        raise ValueError(f"log-probabilities need a vocabulary axis at the end; got {list(old_logprobs_NTV.shape)}.")
    old_NTV = old_logprobs_NTV.detach()
    if (old_NTV > LOGPROB_TOLERANCE).any():
        raise ValueError("a log-probability is above 0: were logits passed instead?")
    top_NT = old_NTV.amax(dim=-1)
    kept_NTV = old_NTV >= math.log(kappa) + top_NT[..., None]
    return top_NT, old_NTV.masked_fill(~kept_NTV, -math.inf).logsumexp(dim=-1)


def probability_weighted(
    logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor
) -> Tensor:
    """The PSR/NSR paper's literal objective, linear in the token's probability.

        loss_nt = - A_nt pi(y_nt),     gradient  - A pi grad log pi

    Compared with `policy_gradient`, tokens that the model thought unlikely weigh little. The
    released code does not run this: its ratio divides by pi_old and removes the factor pi.

    Source: arXiv 2506.01347, Equations 7 and 8.

    Args, returns, raises: as `policy_gradient`.
    """
    logprobs_NT, _, advantages_NT, real_NT = _clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    return _on_tokens(-advantages_NT * logprobs_NT.exp(), real_NT)


def unlikelihood(
    logprobs_NT: Tensor,
    old_logprobs_NT: Tensor,
    advantages_NT: Tensor,
    mask_NT: Tensor,
    floor: float = 1e-5,
) -> Tensor:
    """Raise 1 - pi of wrong tokens instead of lowering log pi.

        A > 0:   loss = - A log pi
        A < 0:   loss = - |A| log max(1 - pi, floor)

    The opposite emphasis of NSR: a confident token in a wrong answer is hit hardest.

    Source: arXiv 1908.04319; compared with NSR in arXiv 2506.01347, Appendix B.

    Args, returns, raises: as `policy_gradient`, and
        floor: keeps log(1 - pi) finite, as in the released unlikelihood code. Tokens more
            certain than 1 - floor get no gradient.
    """
    logprobs_NT, _, advantages_NT, real_NT = _clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    remaining_NT = -torch.expm1(logprobs_NT)  # 1 - pi, exact also where pi is nearly 1
    negative_NT = -advantages_NT.abs() * remaining_NT.clamp(min=floor).log()
    positive_NT = -advantages_NT * logprobs_NT
    return _on_tokens(torch.where(advantages_NT < 0, negative_NT, positive_NT), real_NT)


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
    _same_shape(logprobs=logprobs_NT, reference_logprobs=reference_logprobs_NT)
    difference_NT = reference_logprobs_NT.detach() - logprobs_NT
    if mask_NT is not None:
        _same_shape(logprobs=logprobs_NT, mask=mask_NT)
        real_NT = mask_NT > 0
        difference_NT = _on_tokens(reference_logprobs_NT.detach(), real_NT) - _on_tokens(logprobs_NT, real_NT)
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


# ---------------------------------------------------------------- the whole idea in one function


def polarity_loss(
    logprobs_NT: Tensor,
    advantages_N: Tensor,
    mask_NT: Tensor,
    num_tokens: int,
    positive_weight: float = 1.0,
    negative_weight: float = 1.0,
) -> Tensor:
    """REINFORCE with one weight per polarity (ours; no released PSR or NSR divides like this).

    Writing w_n for the weight that the sign of A_n selects,

        loss = -1/M  sum_n  w_n A_n  sum_t  mask_nt log pi(y_nt | x_n, y_n<t)

    Weights (1, 1) give REINFORCE, (1, 0) learning from positive rollouts only,
    (0, 1) learning from negative rollouts only.

    Args:
        logprobs_NT: [N, T] log-probability of each sampled token under the
            policy being trained; the only input that carries a gradient.
        advantages_N: [N] advantage of each rollout, held constant.
        mask_NT: [N, T] 1 on response tokens, 0 on padding.
        num_tokens: M, the response tokens of *both* polarities. Counting only
            the kept polarity would enlarge its step whenever it is rare, and
            (1, 0) and (0, 1) would no longer add up to (1, 1).
        positive_weight: weight where the advantage is above zero.
        negative_weight: weight where the advantage is below zero.

    Returns:
        Scalar loss. Its value is not a measure of progress (it hovers around
        zero when advantages are centred); its gradient is what matters.

    Raises:
        ValueError: shapes do not fit, or as `policy_gradient`.
    """
    if advantages_N.shape != logprobs_NT.shape[:1]:
        raise ValueError(
            f"advantages {list(advantages_N.shape)} must be [N] for log-probabilities {list(logprobs_NT.shape)}."
        )
    signal_N = torch.where(advantages_N > 0, positive_weight * advantages_N, negative_weight * advantages_N)
    signal_NT = signal_N[:, None].expand_as(logprobs_NT)
    return policy_gradient(logprobs_NT, logprobs_NT, signal_NT, mask_NT).sum() / num_tokens


# ---------------------------------------------------------------- helpers


def _same_shape(**tensors: Tensor) -> None:
    """ValueError naming every shape unless all are equal and [N, T]."""
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    first = next(iter(shapes.values()))
    if len(first) != 2 or any(shape != first for shape in shapes.values()):
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"all must have one shape [N, T]; got {told}.")


def _on_tokens(values_NT: Tensor, real_NT: Tensor) -> Tensor:
    """Zero on padding. `where`, not a product: 0 * inf is NaN."""
    return torch.where(real_NT, values_NT, torch.zeros_like(values_NT))


def _real(mask_NT: Tensor) -> Tensor:
    real_NT = mask_NT > 0
    if mask_NT.dtype != torch.bool and not (mask_NT == real_NT).all():
        raise ValueError("a mask holds 0 and 1 only; put token weights into the advantages.")
    return real_NT


def _clean(
    logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Check the four inputs of a token loss; constants detached, padding replaced by zero."""
    _same_shape(logprobs=logprobs_NT, old_logprobs=old_logprobs_NT, advantages=advantages_NT, mask=mask_NT)
    real_NT = _real(mask_NT)
    logprobs_NT = _on_tokens(logprobs_NT, real_NT)
    old_NT = _on_tokens(old_logprobs_NT.detach(), real_NT)
    advantages_NT = _on_tokens(advantages_NT.detach(), real_NT).to(logprobs_NT.dtype)
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


def _check_between(name: str, value: float, inside: bool, interval: str) -> None:
    if not inside:
        raise ValueError(f"{name} must be in {interval}; got {value}.")


def _lowest(values_NT: Tensor, candidates_NT: Tensor, count: int) -> Tensor:
    """[N, T] bool: the `count` lowest values of all candidates; among equals the first in reading order."""
    chosen = torch.zeros(int(candidates_NT.sum()), dtype=torch.bool, device=values_NT.device)
    chosen[values_NT[candidates_NT].argsort(stable=True)[:count]] = True
    return torch.zeros_like(candidates_NT).masked_scatter(candidates_NT, chosen)


def _proxy(old_NT: Tensor, top_NT: Tensor, mass_NT: Tensor, real_NT: Tensor, kappa: float) -> Tensor:
    """[N, T] log-probability of each sampled token under Lp-Reg's filtered old policy; -inf if filtered out."""
    _check_between("kappa", kappa, 0 < kappa <= 1, "(0, 1]")
    _same_shape(old_logprobs=old_NT, old_top_logprobs=top_NT, old_kept_logmass=mass_NT)
    top_NT, mass_NT = (_on_tokens(x_NT.detach(), real_NT) for x_NT in (top_NT, mass_NT))
    for name, values_NT in (("top log-probability", top_NT), ("kept log-mass", mass_NT)):
        if not ((values_NT <= LOGPROB_TOLERANCE) & torch.isfinite(values_NT)).all():
            raise ValueError(f"an old {name} on a response token is above 0, NaN or infinite.")
    if (mass_NT < top_NT - LOGPROB_TOLERANCE).any():
        raise ValueError("a kept log-mass is below the top log-probability, which is part of it: are they exchanged?")
    kept_NT = old_NT >= math.log(kappa) + top_NT
    return torch.where(kept_NT, old_NT - mass_NT, -math.inf)


def _checked(loss_NT: Tensor, mask_NT: Tensor) -> tuple[Tensor, Tensor]:
    _same_shape(loss=loss_NT, mask=mask_NT)
    real_NT = _real(mask_NT)
    return _on_tokens(loss_NT, real_NT), real_NT


def _total(loss_NT: Tensor, mask_NT: Tensor) -> Tensor:
    return _checked(loss_NT, mask_NT)[0].sum()


def _divided(total: Tensor, count: int) -> Tensor:
    """total / count; with nothing to count, a zero that still has a graph, so backward() works."""
    return total / count if count else total * 0
