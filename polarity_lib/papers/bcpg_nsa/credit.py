"""Online: which tokens of a wrong answer are to blame? Rules that use the true labels, values by sampling, and NTHR.

    first_error        punish the first step that is not right, and nothing else
    from_first_error   punish from there to the end
    prefix_only        punish what is right before it (a control that should do harm)
    step_values        what a step changed in the chance of success, by sampling on from there
    nthr_weights       spare the tokens whose punishment would hurt the group's right answers most

Weights multiply GRPO's advantage in wrong answers. Sources: arXiv 2406.14532 (first pit, step advantages; its order of
these rules is our prediction), arXiv 2505.18830 (NTHR).
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from polarity_lib.advantages import grpo
from polarity_lib.methods import collect_fixed
from polarity_lib.papers.bcpg_nsa.judges import RIGHT_LABELS, step_labels
from polarity_lib.papers.bcpg_nsa.mining import steps_of
from polarity_lib.papers.bcpg_nsa.segmentation import spans
from polarity_lib.problems import Problem
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import verify

# ---------------------------------------------------------------- by the true labels


def error_places(rollouts: Rollouts) -> Tensor:
    """[N, T] 1 on the tokens of the first step that is not right, 2 behind it, 0 before it; 0 in right answers and on padding.

    An answer without work has one step, its final answer. An answer whose steps are all right but for the final one errs
    there; one that has no final one errs as `_unanswered` says.
    """
    places_NT, every = torch.zeros_like(rollouts.mask_NT), steps_of(rollouts)
    for row in (~rollouts.correct_N).nonzero()[:, 0].tolist():
        labels = step_labels(rollouts.problems[row].prompt, every[row])
        errors = [span for span, label in zip(spans(every[row]), labels) if label not in RIGHT_LABELS]
        start, end = errors[0] if errors else _unanswered(every[row], int(rollouts.mask_NT[row].sum()))
        places_NT[row, start:end], places_NT[row, end:] = 1.0, 2.0
    return places_NT * rollouts.mask_NT


def _unanswered(steps: tuple[str, ...], length: int) -> tuple[int, int]:
    """Where an answer of `length` tokens errs that has no wrong step: at the end of text, which stands where the final answer
    should; in its last step, if it was cut off behind it; as a whole, if it has no steps (it is empty, or not readable)."""
    start, end = spans(steps)[-1] if steps else (0, 0)
    return (end, length) if end < length else (start, end)


def first_error(places_NT: Tensor, right_N: Tensor) -> Tensor:
    """[N, T] weights: 1 on the first error, 0 elsewhere in wrong answers; 1 in right answers."""
    return torch.where(right_N[:, None], 1.0, (places_NT == 1).float())


def from_first_error(places_NT: Tensor, right_N: Tensor) -> Tensor:
    """[N, T] weights: 1 from the first error on, 0 before it; 1 in right answers."""
    return torch.where(right_N[:, None], 1.0, (places_NT >= 1).float())


def prefix_only(places_NT: Tensor, right_N: Tensor) -> Tensor:
    """[N, T] weights: 1 before the first error, 0 from it on; 1 in right answers."""
    return torch.where(right_N[:, None], 1.0, (places_NT == 0).float())


# ---------------------------------------------------------------- values by sampling


def collect_with_values(continuations: int) -> Callable:
    """A method's `collect`: the usual batch, and how often each prefix of a wrong answer still ends right.

    `extras["step_values"]`: [N, T] on the tokens of a step, the share of right answers among `continuations` that go on behind
    it (the final step of a wrong answer: 0); `extras["values_before"]`: the same before the step. Before the first step
    stands the group's own share of right answers. All that is drawn counts in `drawn`.
    """

    def collect(sampler, stream, prompts: int, group_size: int, seed) -> Rollouts:
        rollouts = collect_fixed(sampler, stream, prompts, group_size, seed)
        rollouts = rollouts.but(verdicts=verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist()))
        prefixes = wrong_prefixes(rollouts)
        values = values_of(sampler, prefixes, continuations, f"{seed}/values")
        before_NT, after_NT = spread_values(rollouts, values)
        return rollouts.but(drawn=rollouts.drawn + continuations * len(prefixes),
                            extras=rollouts.extras | {"values_before": before_NT, "step_values": after_NT})

    return collect


def wrong_prefixes(rollouts: Rollouts) -> dict[tuple[str, str], Problem]:
    """(key, prefix) -> its problem: every distinct beginning of a wrong answer that ends with a step and is not the whole."""
    found, every = {}, steps_of(rollouts)
    for row in (~rollouts.correct_N).nonzero()[:, 0].tolist():
        for k in range(1, len(every[row])):
            found[rollouts.problems[row].key, "".join(every[row][:k])] = rollouts.problems[row]
    return found


def values_of(sampler, prefixes: dict[tuple[str, str], Problem], continuations: int, seed) -> dict[tuple[str, str], float]:
    """The share of continuations of each prefix that end right."""
    if not prefixes:
        return {}
    asked = [replace(p, prompt=p.prompt + prefix, key=f"{key}/{prefix}") for (key, prefix), p in prefixes.items()]
    drawn = sampler.sample(asked, continuations, seed)
    problems = [p for p in prefixes.values() for _ in range(continuations)]
    heads = [prefix for _, prefix in prefixes for _ in range(continuations)]
    verdicts = verify(problems, [head + text for head, text in zip(heads, drawn.texts)], drawn.finished_N.tolist())
    right_N = torch.tensor([v.is_correct for v in verdicts]).float().view(-1, continuations)
    return dict(zip(prefixes, right_N.mean(1).tolist()))


def spread_values(rollouts: Rollouts, values: dict[tuple[str, str], float]) -> tuple[Tensor, Tensor]:
    """([N, T], [N, T]) the value before and after the step of each token of wrong answers; 0 elsewhere."""
    before_NT, after_NT = torch.zeros_like(rollouts.mask_NT), torch.zeros_like(rollouts.mask_NT)
    right_N, group_N, every = rollouts.correct_N, rollouts.group_N, steps_of(rollouts)
    for row in (~right_N).nonzero()[:, 0].tolist():
        steps, length = every[row], int(rollouts.mask_NT[row].sum())
        value = float(right_N[group_N == group_N[row]].float().mean())
        places = spans(steps) or [(0, 0)]
        for k, (start, end) in enumerate(places, start=1):
            last = k == len(places)
            after = 0.0 if last else values[rollouts.problems[row].key, "".join(steps[:k])]
            where = slice(start, length if last else end)  # the end of text belongs to the last step
            before_NT[row, where], after_NT[row, where] = value, after
            value = after
    return before_NT, after_NT


def step_advantages(before_NT: Tensor, after_NT: Tensor, rewards_N: Tensor, group_N: Tensor, mask_NT: Tensor,
                    epsilon: float = 1e-6) -> Tensor:
    """[N, T] GRPO's advantage in right answers; in wrong ones what each step changed, on GRPO's scale.

        A_it = (Q_k - Q_{k-1}) / (std_g + epsilon)      token t in step k of a wrong answer

    Q_0 is the group's mean and the last Q is 0, so over its steps a wrong answer sums to GRPO's advantage of it.
    """
    advantages_N = grpo(rewards_N, group_N, epsilon)
    scale_N = torch.zeros_like(advantages_N)
    for group in group_N.unique():
        mine = group_N == group
        spread = float(rewards_N[mine].double().std()) if int(mine.sum()) > 1 else 1.0
        scale_N[mine] = 1 / (spread + epsilon) if spread > 0 else 0.0
    changed_NT = (after_NT - before_NT) * scale_N[:, None]
    return torch.where((rewards_N > 0)[:, None], advantages_N[:, None], changed_NT) * mask_NT


# ---------------------------------------------------------------- NTHR


def nthr_scores(hidden_NTC: Tensor, logs_NTV: Tensor, tokens_NT: Tensor, mask_NT: Tensor,
                right_N: Tensor) -> tuple[Tensor, Tensor]:
    """How much each token's update would move the likelihood of a group's right answers, by the last layer alone.

        g = e_y - pi,   s_jk' = sum over right i, tokens k of <g_ik, g_jk'> <h_ik, h_jk'>

    Source: arXiv 2505.18830.

    Args:
        hidden_NTC: [N, T, C] last hidden state before each token; logs_NTV: [N, T, V] log-probabilities there, both of the
            policy before the update.
        tokens_NT, mask_NT, right_N: one group.

    Returns:
        scores_NT (0 on padding), and [right answers] the mean score of each right answer's own tokens.
    """
    real_NT = mask_NT > 0
    errors_NTV = torch.nn.functional.one_hot(tokens_NT, logs_NTV.shape[-1]).to(logs_NTV) - logs_NTV.exp()
    both = real_NT & right_N[:, None]
    pull_VC = errors_NTV[both].T @ hidden_NTC[both]
    scores_NT = torch.where(real_NT, ((errors_NTV @ pull_VC) * hidden_NTC).sum(-1), torch.zeros_like(mask_NT))
    means = scores_NT.sum(1)[right_N] / mask_NT.sum(1)[right_N]
    return scores_NT, means


def nthr_weights(hidden_NTC: Tensor, logs_NTV: Tensor, tokens_NT: Tensor, mask_NT: Tensor, right_N: Tensor, group_N: Tensor,
                 eta: float | None = 0.0, beta: float = 1.0) -> Tensor:
    """[N, T] eta on tokens of wrong answers whose score exceeds beta times the least of the right answers' means; 1 elsewhere.

    Args:
        eta: None: 2 |0.5 - p| with p the group's share of right answers, as a later version is said to have (our card: [N]).
    """
    weights_NT = torch.ones_like(mask_NT)
    for group in group_N.unique():
        mine = group_N == group
        if right_N[mine].all() or not right_N[mine].any():
            continue
        scores_NT, means = nthr_scores(hidden_NTC[mine], logs_NTV[mine], tokens_NT[mine], mask_NT[mine], right_N[mine])
        spared_NT = (scores_NT > beta * means.min()) & ~right_N[mine][:, None] & (mask_NT[mine] > 0)
        low = 2 * abs(0.5 - float(right_N[mine].float().mean())) if eta is None else eta
        weights_NT[mine] = torch.where(spared_NT, low, 1.0)
    return weights_NT
