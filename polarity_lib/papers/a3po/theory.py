"""What one update does to entropy, and to two parameters. Exact, double precision, no model.

    entropy_change   the first-order change of entropy after reinforcing one token (A3PO card, 4.8)
    surely_raises    tokens for which its sign needs no more than their own probability
    identity_table   the change for every token of many distributions
    toy_path         two parameters under AdamW or SGD, with equal weights of one size (A3PO-C9)

Axes: V vocabulary, S steps, K parameters of the toy.
"""

import pandas as pd
import torch
from torch import Tensor

from polarity_lib.config import choose
from polarity_lib.mechanism import random_cases

# ---------------------------------------------------------------- one softmax


def entropy(probs_V: Tensor) -> float:
    """Entropy in nats; a token of probability 0 adds nothing."""
    return float(-torch.xlogy(probs_V, probs_V).sum())


def entropy_change(probs_V: Tensor, sampled: int, advantage: float = 1.0) -> float:
    """How fast entropy changes when one sampled token is reinforced.

    For logits that move by eta A (1[v = a] - pi_v),

        dH = - eta A [ pi_a (log pi_a + H) - sum_v pi_v^2 (log pi_v + H) ] + O(eta^2)

    The sum does not depend on a. It is the covariance of pi and log pi under pi, so never below zero.

    Args:
        probs_V: [V] before the update, all above zero.
        sampled: a.
        advantage: A.

    Returns:
        dH / eta, in nats.
    """
    probs_V = probs_V.double()
    effect_V = probs_V * (probs_V.log() + entropy(probs_V))
    return float(-advantage * (effect_V[sampled] - (probs_V * effect_V).sum()))


def surely_raises(logprobs: Tensor, entropies: Tensor) -> Tensor:
    """True where log pi_a < -H: reinforcing such a token (A > 0) raises entropy, whatever the other tokens are.

    The first term of `entropy_change` is then below zero, and the second never is. The converse does not
    hold: some tokens just above the line raise it too.

    Args:
        logprobs, entropies: of the sampled token and of its position, any equal shapes.
    """
    return logprobs < -entropies


def identity_table(cases: int = 120, vocabulary: int = 6, seed: int = 0) -> pd.DataFrame:
    """`entropy_change` at A = +1 for every token of random distributions, from flat to nearly certain.

    Returns:
        One row per distribution and token: case, token, probability, entropy, change.
    """
    rows = []
    for case, (logits_V, _) in enumerate(random_cases(cases, vocabulary, seed)):
        probs_V = logits_V.softmax(-1)
        rows += [{"case": case, "token": a, "probability": float(probs_V[a]), "entropy": entropy(probs_V),
                  "change": entropy_change(probs_V, a)} for a in range(vocabulary)]
    return pd.DataFrame(rows)


# ---------------------------------------------------------------- two parameters


def toy_path(size: float, optimizer: str = "adamw", rate: float = 0.05, clip: float = 0.0, kl: float = 0.0,
             steps: int = 40) -> Tensor:
    """Training a policy of three answers, one sampled as right, one as wrong, both weighted by `size`.

        loss = - size (log pi_right - log pi_wrong) / 2 + kl KL(pi || start)

    The two parameters are the logits of the right and of the wrong answer; the third logit stays 0.
    The start is uniform.

    Args:
        size: w+ = w-, as in P2N2.
        clip: limit of the gradient's length, 0 for none.

    Returns:
        [S + 1, K] parameters before the first step and after each.
    """
    choose("optimizer", optimizer, ("adamw", "sgd"))
    logits_K = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    make = {"adamw": lambda p: torch.optim.AdamW(p, lr=rate, weight_decay=0.0), "sgd": lambda p: torch.optim.SGD(p, lr=rate)}
    stepper = make[optimizer]([logits_K])
    path = [logits_K.detach().clone()]
    for _ in range(steps):
        stepper.zero_grad()
        logs_V = torch.cat([logits_K, torch.zeros(1, dtype=torch.float64)]).log_softmax(-1)
        start_V = torch.full((3,), 1 / 3, dtype=torch.float64).log()
        loss = -size * (logs_V[0] - logs_V[1]) / 2 + kl * (logs_V.exp() * (logs_V - start_V)).sum()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_([logits_K], clip)
        stepper.step()
        path.append(logits_K.detach().clone())
    return torch.stack(path)
