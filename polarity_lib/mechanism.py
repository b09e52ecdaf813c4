"""What one update does to one distribution, exactly. Pure functions, double precision, no model.

    token_weights     a method and some rollouts -> the weight of every token's gradient
    descent           a token loss on one softmax -> how each logit moves
    expected_update   PSR and NSR averaged over every answer that could be drawn
    update_noise      the same from finite batches, where the two part

Axes: N rollouts, T token positions, V vocabulary (or whole answers), D draws of a batch.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from polarity_lib import objectives as obj
from polarity_lib.methods import Method, Progress, rows_kept
from polarity_lib.problems import Problem
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import Verdict

# ---------------------------------------------------------------- what a method gives each token


def hand_made(right_N, group_N, length_N, max_new_tokens: int = 16) -> Rollouts:
    """Rollouts without a model: verdicts, groups and lengths are given, tokens are blank.

    Args:
        right_N: [N] true where the verdict is `correct`.
        group_N: [N] prompt of each rollout.
        length_N: [N] response tokens of each.
    """
    length_N = torch.as_tensor(length_N)
    mask_NT = (torch.arange(int(length_N.max()))[None] < length_N[:, None]).double()
    zeros_NT = torch.zeros_like(mask_NT)
    return Rollouts(
        problems=[Problem("by hand", "", "", str(g)) for g in group_N], group_N=torch.as_tensor(group_N),
        prompt_ids=[[] for _ in group_N], tokens_NT=zeros_NT.long(), mask_NT=mask_NT, logprobs_NT=zeros_NT,
        entropies_NT=zeros_NT, finished_N=torch.ones(len(length_N), dtype=torch.bool), texts=["" for _ in group_N],
        verdicts=[Verdict("correct" if r else "wrong", None, "", "by hand") for r in right_N],
        max_new_tokens=max_new_tokens,
    )


def token_weights(method: Method, rollouts: Rollouts) -> Tensor:
    """What multiplies each token's grad log pi in the update, on-policy.

        w_nt = - d loss / d log pi(y_nt)    at pi = pi_old

    Everything a method decides ends up in this one number per token: reward, kept rows,
    advantage, token loss and denominator. Positive: the token becomes likelier.

    Args:
        method: one that needs nothing but rollouts (no critic, no reference).

    Returns:
        [N, T] weights, 0 on padding and on dropped rows.

    Raises:
        ValueError: the method needs extras.
    """
    if method.needs:
        raise ValueError(f"{method.name} also needs {', '.join(sorted(method.needs))}; there is none by hand.")
    rewards_N = method.reward(rollouts)
    keep_N = rows_kept(method, rewards_N, rollouts.group_N)
    advantages_NT = method.advantage(rollouts, rewards_N, Progress(0, 1)) * keep_N[:, None]
    return loss_weights(method, rollouts, advantages_NT, keep_N)


def loss_weights(method: Method, rollouts: Rollouts, advantages_NT: Tensor, keep_N: Tensor) -> Tensor:
    """[N, T] the same where advantages are known already; dropped rows have none."""
    logprobs_NT = rollouts.logprobs_NT.double().clone().requires_grad_()
    counts = obj.BatchCounts.of(rollouts.mask_NT, keep_N, rollouts.max_new_tokens)
    loss_NT = method.token_loss(logprobs_NT, logprobs_NT.detach(), advantages_NT, rollouts.mask_NT, {})
    method.aggregate(loss_NT, rollouts.mask_NT, counts).backward()
    return -logprobs_NT.grad


def compare_definitions(methods: dict[str, Method], rollouts: Rollouts) -> pd.DataFrame:
    """One row per rollout, one column per definition: the weight of each of its tokens.

    In all these definitions the tokens of a rollout share one weight.
    """
    columns = {name: token_weights(method, rollouts)[:, 0].numpy() + 0.0 for name, method in methods.items()}
    length_N = rollouts.mask_NT.sum(1).long().tolist()
    rows = [(int(g), "right" if v.is_correct else "wrong", n)
            for g, v, n in zip(rollouts.group_N, rollouts.verdicts, length_N)]
    return pd.DataFrame(columns, index=pd.MultiIndex.from_tuples(rows, names=["group", "verdict", "tokens"]))


# ---------------------------------------------------------------- one softmax, one token


def descent(token_loss, logits_V: Tensor, sampled: int, advantage: float) -> Tensor:
    """[V] minus the gradient of a token loss by the logits, after sampling one token.

    Args:
        token_loss: a function of `objectives`, on-policy (pi_old = pi).
        advantage: +1 for a token of a right rollout, -1 for one of a wrong rollout.
    """
    logits_V = logits_V.detach().double().requires_grad_()
    logprob_11 = logits_V.log_softmax(-1)[sampled].reshape(1, 1)
    one_11 = torch.ones(1, 1, dtype=torch.float64)
    token_loss(logprob_11, logprob_11.detach(), advantage * one_11, one_11).sum().backward()
    return -logits_V.grad


def entropy_ascent(logits_V: Tensor) -> Tensor:
    """[V] the gradient of the entropy by the logits: what an entropy bonus adds."""
    logits_V = logits_V.detach().double().requires_grad_()
    obj.entropy_from_logits(logits_V).backward()
    return logits_V.grad


def random_cases(cases: int = 200, vocabulary: int = 8, seed: int = 0) -> list[tuple[Tensor, int]]:
    """(logits, sampled token) pairs, from flat to nearly certain distributions."""
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.2, 4.0, cases)
    return [(torch.from_numpy(s * rng.standard_normal(vocabulary)), int(rng.integers(vocabulary))) for s in scales]


def clip_gradient(ratios, advantage: float) -> np.ndarray:
    """1 where the clipped loss still has a gradient at a ratio pi / pi_old, else 0."""
    logprobs_NT = torch.log(torch.as_tensor(ratios, dtype=torch.float64))[:, None] - 5.0
    logprobs_NT.requires_grad_()
    ones_NT = torch.ones_like(logprobs_NT).detach()
    obj.ppo_clip(logprobs_NT, -5.0 * ones_NT, advantage * ones_NT, ones_NT).sum().backward()
    return (logprobs_NT.grad[:, 0] != 0).double().numpy()


# ---------------------------------------------------------------- a distribution and a batch


def after_update(probs_V: Tensor, samples: list[tuple[int, float]], rate: float) -> Tensor:
    """[V] probabilities after one step of gradient descent on the logits, log form.

    Args:
        samples: (answer, advantage) pairs of the batch; their gradients add up.
    """
    logits_V = probs_V.double().log()
    moves = [descent(obj.policy_gradient, logits_V, sampled, advantage) for sampled, advantage in samples]
    return (logits_V + rate * sum(moves)).softmax(-1)


def expected_update(probs_V: Tensor, right_V: Tensor, positive_weight: float, negative_weight: float) -> Tensor:
    """[V] the update of the logits averaged over all answers, log form.

        E_y[A_y (1[v = y] - pi_v)] = pi_v (A_v - sum_w pi_w A_w)

    Adding a constant to A changes nothing, so (1, 0) and (0, 1), which differ by one, have the
    *same* expected update: what parts PSR from NSR is the luck of finite batches and, in
    practice, denominators and the optimizer.
    """
    advantages_V = torch.where(right_V, float(positive_weight), -float(negative_weight)).to(probs_V.dtype)
    return probs_V * (advantages_V - (probs_V * advantages_V).sum(-1, keepdim=True))


def update_noise(probs_V: Tensor, right_V: Tensor, positive_weight: float, negative_weight: float,
                 rollouts: int = 8, draws: int = 4000, seed: int = 0) -> tuple[Tensor, float]:
    """The update that batches of `rollouts` answers give: its mean, and how far one batch strays.

    Returns:
        mean_V: [V] estimates `expected_update`.
        Mean Euclidean length of one batch's update minus `expected_update`.
    """
    counts_DV = torch.from_numpy(np.random.default_rng(seed).multinomial(rollouts, probs_V.double().numpy(), size=draws))
    advantages_V = torch.where(right_V, float(positive_weight), -float(negative_weight)).double()
    signal_DV = counts_DV * advantages_V / rollouts
    update_DV = signal_DV - signal_DV.sum(1, keepdim=True) * probs_V
    mean_V = expected_update(probs_V, right_V, positive_weight, negative_weight)
    return update_DV.mean(0), float((update_DV - mean_V).norm(dim=1).mean())
