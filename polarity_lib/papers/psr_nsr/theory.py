"""The gradient analysis of PSR/NSR, re-derived by autograd (claim PSRNSR-C12), and the losses it compares.

    probability_weighted  the paper's literal objective, linear in pi
    unlikelihood          its relative of Appendix B
    equation_7 ...        the paper's formulas, logit by logit
    mechanism_checks      formulas against autograd on random distributions

Axes: N rollouts, T token positions, V vocabulary.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from polarity_lib import objectives as obj
from polarity_lib.mechanism import clip_gradient, descent, entropy_ascent, random_cases
from polarity_lib.objectives import clean, on_tokens


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
    logprobs_NT, _, advantages_NT, real_NT = clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    return on_tokens(-advantages_NT * logprobs_NT.exp(), real_NT)


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
    logprobs_NT, _, advantages_NT, real_NT = clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    remaining_NT = -torch.expm1(logprobs_NT)  # 1 - pi, exact also where pi is nearly 1
    negative_NT = -advantages_NT.abs() * remaining_NT.clamp(min=floor).log()
    positive_NT = -advantages_NT * logprobs_NT
    return on_tokens(torch.where(advantages_NT < 0, negative_NT, positive_NT), real_NT)


def equation_7(probs_V: Tensor, sampled: int) -> Tensor:
    """PSR, linear in pi: pi_y (1 - pi_y) for the sampled token y, - pi_y pi_v for every other v."""
    moved_V = -probs_V[sampled] * probs_V
    moved_V[sampled] = probs_V[sampled] * (1 - probs_V[sampled])
    return moved_V


def equation_8(probs_V: Tensor, sampled: int) -> Tensor:
    """NSR, linear in pi: the reverse of Equation 7."""
    return -equation_7(probs_V, sampled)


def unlikelihood_step(probs_V: Tensor, sampled: int) -> Tensor:
    """Appendix B: - pi_y for the sampled token, + pi_y pi_v / (1 - pi_y) for the others."""
    moved_V = probs_V[sampled] / (1 - probs_V[sampled]) * probs_V
    moved_V[sampled] = -probs_V[sampled]
    return moved_V


def entropy_step(probs_V: Tensor) -> Tensor:
    """Appendix B: - pi_v (log pi_v - sum_w pi_w log pi_w)."""
    logs_V = probs_V.log()
    return -probs_V * (logs_V - (probs_V * logs_V).sum())


def _gradients(cases) -> dict[str, tuple[list, list]]:
    """Formula against autograd, logit by logit."""
    found: dict[str, tuple[list, list]] = {}

    def add(name, formula_V, autograd_V):
        theirs, ours = found.setdefault(name, ([], []))
        theirs.extend(formula_V.tolist())
        ours.extend(autograd_V.tolist())

    for z, y in cases:
        p = z.softmax(-1)
        add("Eq. 7, PSR gradient, linear in pi", equation_7(p, y), descent(probability_weighted, z, y, +1.0))
        add("Eq. 8, NSR gradient, linear in pi", equation_8(p, y), descent(probability_weighted, z, y, -1.0))
        # The log form is the linear one without its factor pi_y.
        add("PSR gradient, log pi", equation_7(p, y) / p[y], descent(obj.policy_gradient, z, y, +1.0))
        add("NSR gradient, log pi", equation_8(p, y) / p[y], descent(obj.policy_gradient, z, y, -1.0))
        add("released ratio loss at pi = pi_old is the log form",
            equation_8(p, y) / p[y], descent(obj.ppo_clip, z, y, -1.0))
        add("App. B, unlikelihood gradient", unlikelihood_step(p, y), descent(_unlikelihood_exact, z, y, -1.0))
        add("App. B, entropy bonus gradient", entropy_step(p), entropy_ascent(z))
    return found


def _unlikelihood_exact(*tensors):
    return unlikelihood(*tensors, floor=1e-300)  # the released floor would zero the surest tokens


def _after_a_step(cases, rate: float = 0.1) -> dict[str, tuple[list, list]]:
    """What one NSR step of gradient descent on the logits has done."""
    names = ("one step keeps the ranking of unsampled tokens", "one step gives the likeliest unsampled token most",
             "log-odds of two unsampled tokens, linear in pi", "log-odds of two unsampled tokens, log pi",
             "sampled token falls by 1 - pi, log pi")
    found: dict[str, tuple[list, list]] = {name: ([], []) for name in names}
    ranking, most, odds_linear, odds_log, penalty = (found[name] for name in names)
    for z, y in cases:
        p = z.softmax(-1)
        others = [v for v in range(len(p)) if v != y]
        v, w = others[0], others[1]
        linear, log = (z + rate * descent(loss, z, y, -1.0) for loss in (probability_weighted, obj.policy_gradient))
        before, after = p[others], log.softmax(-1)[others]
        ranking[0].append(1.0)
        ranking[1].append(float(torch.equal(before.argsort(), after.argsort())))
        most[0].append(1.0)
        most[1].append(float((after - before).argmax() == before.argmax()))
        odds_linear[0].append(float(rate * p[y] * (p[v] - p[w])))
        odds_linear[1].append(float((linear[v] - linear[w]) - (z[v] - z[w])))
        odds_log[0].append(float(rate * (p[v] - p[w])))
        odds_log[1].append(float((log[v] - log[w]) - (z[v] - z[w])))
        penalty[0].append(float(-rate * (1 - p[y])))
        penalty[1].append(float(log[y] - z[y]))
    return found


def _clips() -> dict[str, tuple[list, list]]:
    ratios = np.array([0.5, 0.7, 0.79, 0.81, 0.9, 1.0, 1.1, 1.19, 1.21, 1.3, 2.0])
    holds = np.ones(len(ratios))
    return {
        "A = +1: only the upper clip binds": (holds, clip_gradient(ratios, +1.0) == (ratios < 1.2)),
        "A = -1: only the lower clip binds": (holds, clip_gradient(ratios, -1.0) == (ratios > 0.8)),
    }


def mechanism_checks(tolerance: float = 1e-6, cases: int = 200, seed: int = 0) -> pd.DataFrame:
    """Claim C12 in its parts: the paper's formulas against autograd on random distributions.

    Returns:
        One row per sub-test: `theirs` (what the formula says) and `ours` (what was
        measured) at the place where the two differ most; 1.0 means "holds" in the
        yes-or-no sub-tests. passed = |theirs - ours| <= tolerance everywhere.

    Source: arXiv 2506.01347, Equations 7 and 8, Appendices A and B.
    """
    drawn = random_cases(cases, seed=seed)
    rows = []
    for name, (theirs, ours) in {**_gradients(drawn), **_after_a_step(drawn), **_clips()}.items():
        theirs, ours = np.asarray(theirs, dtype=float), np.asarray(ours, dtype=float)
        worst = int(np.abs(theirs - ours).argmax())
        gap = abs(theirs[worst] - ours[worst])
        rows.append({"subtest": name, "theirs": theirs[worst], "ours": ours[worst], "tolerance": tolerance,
                     "passed": bool(gap <= tolerance)})
    return pd.DataFrame(rows)
