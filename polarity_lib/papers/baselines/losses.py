"""Token losses of two baselines that choose tokens: fork tokens and Lp-Reg. Pure, as in `objectives`.

Axes: N rollouts, T token positions, V vocabulary.
"""

import math

import torch
from torch import Tensor

from polarity_lib.objectives import LOGPROB_TOLERANCE, clean, k3, on_tokens, ppo_clip, real_tokens, same_shape


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
    reading order are taken. The ranking is over the tokens *given*: the loop gives those of a whole
    mini-batch, while the released code ranks within a micro-batch.

    Source: arXiv 2506.01939; repository Shenzhi-Wang/Beyond-the-80-20-Rule-RLVR. Whether the
    paper's formula divides by all or by selected tokens is unverified.

    Args, returns, raises: as `policy_gradient`, and
        entropies_NT: [N, T] entropy of the current policy at each token, held constant.
        fraction: in (0, 1].
        ValueError also if fraction is outside (0, 1] or an entropy is negative or not finite.
    """
    _check_between("fraction", fraction, 0 < fraction <= 1, "(0, 1]")
    loss_NT = ppo_clip(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT, clip_low, clip_high)
    same_shape(logprobs=logprobs_NT, entropies=entropies_NT)
    real_NT = real_tokens(mask_NT)
    entropies_NT = on_tokens(entropies_NT.detach(), real_NT)
    if not ((entropies_NT >= -LOGPROB_TOLERANCE) & torch.isfinite(entropies_NT)).all():
        raise ValueError("an entropy on a response token is negative, NaN or infinite.")
    tokens = int(real_NT.sum())
    # 0.07 * 100 is 7.000000000000001 in floating point, whose ceiling would be 8.
    count = min(tokens, max(1, math.ceil(fraction * tokens - 1e-9)))
    chosen_NT = _lowest(-entropies_NT, real_NT, count)
    return on_tokens(loss_NT * (tokens / max(count, 1)), chosen_NT)


def lp_reg(
    logprobs_NT: Tensor,
    old_logprobs_NT: Tensor,
    advantages_NT: Tensor,
    mask_NT: Tensor,
    filtered: tuple[Tensor, Tensor],
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

    Source: arXiv 2510.03222; repository CarlanLark/Lp-Reg-dev, which ranks within a micro-batch
    (here: the mini-batch). rho is 0.01 or 0.005, beta 1 and kappa 0.02 there; aggregation `token_mean`.

    Args, returns, raises: as `policy_gradient`, and
        filtered: [N, T] log max_v pi_old(v) and [N, T] log Z, as `filtered_mass` gives them with the same kappa.
        ValueError also if these are above 0, not finite, or the mass is below its largest part; if rho
            is outside [0, 1], kappa outside (0, 1], or beta negative or not finite.
    """
    _check_between("rho", rho, 0 <= rho <= 1, "[0, 1]")
    _check_between("beta", beta, 0 <= beta < math.inf, "[0, infinity)")
    loss_NT = ppo_clip(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT, clip_low=1.0, clip_high=9.0)
    logprobs_NT, old_NT, advantages_NT, real_NT = clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    proxy_NT = _proxy(old_NT, *filtered, real_NT, kappa)
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
    same_shape(old_logprobs=old_NT, old_top_logprobs=top_NT, old_kept_logmass=mass_NT)
    top_NT, mass_NT = (on_tokens(x_NT.detach(), real_NT) for x_NT in (top_NT, mass_NT))
    for name, values_NT in (("top log-probability", top_NT), ("kept log-mass", mass_NT)):
        if not ((values_NT <= LOGPROB_TOLERANCE) & torch.isfinite(values_NT)).all():
            raise ValueError(f"an old {name} on a response token is above 0, NaN or infinite.")
    if (mass_NT < top_NT - LOGPROB_TOLERANCE).any():
        raise ValueError("a kept log-mass is below the top log-probability, which is part of it: are they exchanged?")
    kept_NT = old_NT >= math.log(kappa) + top_NT
    return torch.where(kept_NT, old_NT - mass_NT, -math.inf)
