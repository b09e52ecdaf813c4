"""The optimizer steps on one judged batch: log-probabilities -> loss -> gradient -> step.

A batch is split by prompt into mini-batches, one step each; a mini-batch too large for the device goes through the policy
in pieces, and its loss is still that of the whole.
"""

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from polarity_lib import diagnostics
from polarity_lib.evaluation import sampler_gap
from polarity_lib.layout import pack_rows
from polarity_lib.methods import brought
from polarity_lib.objectives import BatchCounts
from polarity_lib.policy import token_logprobs
from polarity_lib.rollouts import Rollouts
from polarity_lib.run import Diverged, Run

TOKENS_PER_PASS = 65536  # response tokens of one forward and backward pass, where the policy does not say


def update(run: Run, rollouts: Rollouts, advantages_NT: Tensor, keep_N: Tensor,
           update_size: float | None) -> dict[str, float]:
    """Optimizer steps on one batch, `minibatches` of them, split by prompt."""
    config, method = run.config, run.method
    run.learner.begin()
    # Rows without advantage give no gradient; leaving them out changes nothing but the time.
    active_N = keep_N & (advantages_NT != 0).any(1) if method.zero_rows_are_free else keep_N
    split_N = rollouts.group_N * config.minibatches // (int(rollouts.group_N.max()) + 1)
    rollouts = rollouts.but(extras=rollouts.extras | before_update(run, rollouts, active_N))
    grad_norms, moved, gaps, skipped = [], [], [], 0
    for part in range(config.minibatches):
        rows = (split_N == part) & active_N
        counts = BatchCounts.of(rollouts.mask_NT[split_N == part], keep_N[split_N == part], rollouts.max_new_tokens)
        if not rows.any():
            skipped += 1
            continue
        run.learner.zero_grad()
        pieces = split_rows(rows, rollouts.mask_NT, run.policy.served.tokens_per_pass)
        with run.policy.for_gradients():
            logprobs_NT, entropies_NT = forward_pieces(run, rollouts, rows, pieces)
            loss, ratios, gap = loss_of(run, rollouts, advantages_NT, rows, counts, logprobs_NT, entropies_NT)
            if not torch.isfinite(loss):
                raise Diverged("loss", run)
            if len(pieces) == 1:
                loss.backward()
            else:
                backward_pieces(run, rollouts, rows, pieces, torch.autograd.grad(loss, logprobs_NT)[0])
        moved.append(ratios)
        gaps.append(gap)
        grad_norms.append(run.learner.step(config.grad_clip or float("inf")))
        if not math.isfinite(grad_norms[-1]):
            raise Diverged("gradient", run)
    norm = run.learner.moved(update_size)
    if not math.isfinite(norm):
        raise Diverged("policy's weights", run)
    return {
        "update/norm": norm,
        "update/skipped": skipped,
        "update/gradient_norm": float(np.mean(grad_norms)) if grad_norms else 0.0,
        "update/clip_share": float(np.mean([ratios.pop("clip_share") for ratios in moved])) if moved else 0.0,
        "update/sampler_gap": float(np.mean(gaps)) if gaps else 0.0,
        "update/rows_kept": float(keep_N.sum()),
    } | pd.DataFrame(moved).mean().to_dict()


def forward(run: Run, rollouts: Rollouts, rows: Tensor) -> tuple[Tensor, Tensor]:
    """[N, T] log-probability of each sampled token of some rows, and the entropy there."""
    packed, mask_NT = pack_rows(rollouts, rows, run.policy), rollouts.mask_NT[rows].to(run.learner.device)
    logprobs_NT, entropies_NT, _ = run.learner.logprobs(packed, mask_NT, run.config.temperature)
    if not torch.isfinite(logprobs_NT).all():
        raise Diverged("log-probability of a sampled token", run)
    return logprobs_NT, entropies_NT


def forward_pieces(run: Run, rollouts: Rollouts, rows: Tensor, pieces: list[Tensor]) -> tuple[Tensor, Tensor]:
    """What `forward` gives for all rows of a mini-batch. Of several pieces only the numbers are kept, without their graphs.

    The loss sees the whole mini-batch at once, so a method that ranks tokens ranks all of them, however many there are.
    """
    if len(pieces) == 1:
        return forward(run, rollouts, rows)
    mask_NT = rollouts.mask_NT.to(run.learner.device)
    logprobs_NT, entropies_NT = torch.zeros_like(mask_NT), torch.zeros_like(mask_NT)
    with torch.no_grad():
        for piece in pieces:
            logprobs_NT[piece], entropies_NT[piece] = forward(run, rollouts, piece)
    return logprobs_NT[rows].requires_grad_(), entropies_NT[rows]


def backward_pieces(run: Run, rollouts: Rollouts, rows: Tensor, pieces: list[Tensor], slope_NT: Tensor) -> None:
    """The gradient of a loss in the policy's weights, piece by piece, from its slope in the log-probabilities.

    By the chain rule the sum over pieces is the gradient of the whole, for one more forward pass.
    """
    for piece in pieces:
        logprobs_NT, _ = forward(run, rollouts, piece)
        (logprobs_NT * slope_NT[piece[rows]]).sum().backward()


def loss_of(run: Run, rollouts: Rollouts, advantages_NT: Tensor, rows: Tensor, counts: BatchCounts,
            logprobs_NT: Tensor, entropies_NT: Tensor):
    """The loss of a mini-batch's rows, how far the policy has moved since the batch was drawn, and the gap to the sampler."""
    device = run.learner.device
    mask_NT = rollouts.mask_NT[rows].to(device)
    # The first update of a batch is exactly on-policy: the old log-probabilities are the new ones.
    old_NT = logprobs_NT.detach()
    if "old_logprobs" in rollouts.extras:
        old_NT = rollouts.extras["old_logprobs"][rows].to(device)
    advantages = advantages_NT[rows].to(device)
    extras = {k: v[rows].to(device) for k, v in rollouts.extras.items() if k in run.method.needs | brought(run.method)}
    if "entropies" in run.method.needs:
        extras["entropies"] = entropies_NT
    stored = {"sampled_logprobs": rollouts.logprobs_NT, "groups": rollouts.group_N, "tokens": rollouts.tokens_NT}
    extras |= {need: values[rows].to(device) for need, values in stored.items() if need in run.method.needs}
    loss_NT = run.method.token_loss(logprobs_NT, old_NT, advantages, mask_NT, extras)
    loss = run.method.aggregate(loss_NT, mask_NT, counts)
    ratios = {"clip_share": diagnostics.clip_share(logprobs_NT, old_NT, advantages, mask_NT)}
    if run.config.minibatches > 1:  # with one update nothing has moved yet
        ratios |= diagnostics.describe_ratios(logprobs_NT, old_NT, advantages, mask_NT)
    own_N = ~rollouts.extras["from_elsewhere"][rows] if "from_elsewhere" in rollouts.extras else slice(None)
    own_NT = rollouts.mask_NT[rows][own_N]  # answers from elsewhere have no sampler to differ from
    gap = sampler_gap(rollouts.logprobs_NT[rows][own_N], old_NT[own_N], own_NT) if own_NT.any() else 0.0
    return loss, ratios, gap


def before_update(run: Run, rollouts: Rollouts, rows: Tensor) -> dict:
    """What later mini-batches compare with: the policy as it was before the first of them.

    Only `rows` enter the update, so only theirs are computed; the others stay zero.
    """
    wants_distributions, wants_hidden = ("old_distributions" in run.method.needs), ("old_hidden" in run.method.needs)
    if (run.config.minibatches == 1 and not wants_distributions and not wants_hidden) or not rows.any():
        return {}
    found = {"old_logprobs": torch.zeros_like(rollouts.mask_NT)}

    def note(name, piece, values_M):
        if name not in found:
            found[name] = torch.zeros(*rollouts.mask_NT.shape, values_M.shape[1])
        found[name][rollouts.mask_NT.bool() & piece[:, None]] = values_M

    with torch.no_grad():
        for piece in pieces_without_gradient(run, rows, rollouts):
            logprobs_NT, _, hidden_MC = run.learner.logprobs(
                pack_rows(rollouts, piece, run.policy), rollouts.mask_NT[piece].to(run.learner.device),
                run.config.temperature, keep_hidden=wants_distributions or wants_hidden)
            found["old_logprobs"][piece] = logprobs_NT.cpu()
            if wants_distributions:
                note("old_distributions", piece, run.learner.distributions(hidden_MC, run.config.temperature).cpu())
            if wants_hidden:
                note("old_hidden", piece, hidden_MC.cpu())
    return found


def extras_for(run: Run, rollouts: Rollouts) -> dict:
    """What the method's advantage or loss asked for (`needs`) or its `collect` brought, and nothing else."""
    extras = {name: rollouts.extras.get(name, torch.zeros(len(rollouts))) for name in brought(run.method)}
    everything = torch.ones(len(rollouts), dtype=torch.bool)
    if not run.critic and run.reference is None:
        return extras
    pieces = pieces_without_gradient(run, everything, rollouts)
    with torch.no_grad():
        if run.critic:
            hidden_MC = torch.cat([run.learner.hidden(pack_rows(rollouts, piece, run.policy)) for piece in pieces])
            values_M = run.critic(hidden_MC).cpu()
            extras["hidden"] = hidden_MC
            extras["values"] = torch.zeros_like(rollouts.mask_NT).index_put(
                rollouts.mask_NT.bool().nonzero(as_tuple=True), values_M)
        if run.reference is not None:
            extras["reference_logprobs"] = torch.zeros_like(rollouts.mask_NT)
            for piece in pieces:
                packed, mask_NT = pack_rows(rollouts, piece, run.policy), rollouts.mask_NT[piece].to(run.learner.device)
                reference_NT, _, _ = token_logprobs(run.reference, packed, mask_NT, run.config.temperature)
                extras["reference_logprobs"][piece] = reference_NT.cpu()
    return extras


def split_rows(rows: Tensor, mask_NT: Tensor, tokens: int = 0) -> list[Tensor]:
    """Boolean masks that cover `rows`, each of at most about so many response tokens; 0: TOKENS_PER_PASS."""
    tokens_N = mask_NT.sum(1) * rows
    piece_N = (tokens_N.cumsum(0) - tokens_N).div(tokens or TOKENS_PER_PASS, rounding_mode="floor")
    return [rows & (piece_N == piece) for piece in piece_N[rows].unique()]


def pieces_without_gradient(run: Run, rows: Tensor, rollouts: Rollouts) -> list[Tensor]:
    """The same where no graph is kept: all at once, unless the policy says how much."""
    tokens = run.policy.served.tokens_per_pass
    return split_rows(rows, rollouts.mask_NT, tokens) if tokens else [rows]
