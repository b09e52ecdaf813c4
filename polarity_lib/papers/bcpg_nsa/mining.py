"""From judges' labels to token weights, the controls of these weights, and what wrong answers hold.

    good_NT     [N, T] a judge's score on the tokens of wrong answers, 0 elsewhere (1: the step is right)
    weights_NT  [N, T] what the advantage of a token is multiplied with

A token of a right answer always has weight 1. Pure functions but for `judged_tokens`, which remembers what a judge said.
"""

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from polarity_lib.advantages import centred
from polarity_lib.config import ConfigError
from polarity_lib.papers.bcpg_nsa.judges import Judge, arithmetic, oracle, step_labels
from polarity_lib.papers.bcpg_nsa.segmentation import line_steps, spans, text_steps
from polarity_lib.problems import WORLDS, Problem
from polarity_lib.rollouts import Rollouts

# ---------------------------------------------------------------- labels


def has_lines(problem: Problem) -> bool:
    """Whether a problem's answers are written line by line; nothing is known of worlds that are not ours."""
    return problem.world in WORLDS and WORLDS[problem.world].family == "chain"


def fitting(rollouts: Rollouts) -> Tensor:
    """[N] whether a row's steps can be laid over its tokens: it is of a chain world, and its characters are its tokens.

    An answer that ends by itself has one token more than characters.
    """
    written = torch.tensor([len(text) for text in rollouts.texts]) + rollouts.finished_N.long()
    chain = torch.tensor([has_lines(problem) for problem in rollouts.problems])
    return chain & (written == rollouts.mask_NT.sum(1).long())


def steps_of(rollouts: Rollouts, segment: Callable = line_steps) -> list[tuple[str, ...]]:
    """Per row its steps; none for an answer of a world without steps, an empty one, or one that holds a special token.

    Such an answer has nothing to spare and errs as a whole: what knows steps elsewhere treats it like any method that does not.

    Raises:
        ConfigError: these answers of a chain world have not one token per character.
    """
    fits_N = fitting(rollouts)
    # A special token in the middle is spelt out in the text.
    odd = [row for row, text in enumerate(rollouts.texts) if not fits_N[row] and "<" not in text]
    if any(has_lines(rollouts.problems[row]) for row in odd):
        raise ConfigError("These answers have not one token per character, so steps cannot be laid over their tokens.")
    return [segment(text) if fits else () for text, fits in zip(rollouts.texts, fits_N.tolist())]


def judged_tokens(rollouts: Rollouts, judge: Judge = oracle, segment: Callable = line_steps,
                  rows: Tensor | None = None) -> Tensor:
    """[N, T] the judge's score of the step that each token belongs to; 0 on padding and in rows that are not asked for.

    Args:
        rows: [N] bool; wrong answers by default, which are all that the method asks about.
    """
    good_NT, steps = torch.zeros_like(rollouts.mask_NT), steps_of(rollouts, segment)
    rows = ~rollouts.correct_N if rows is None else rows
    for row in rows.nonzero()[:, 0].tolist():
        problem = rollouts.problems[row]
        for (start, end), score in _judged(judge, problem.prompt, steps[row], problem.gold):
            good_NT[row, start:end] = score
    return good_NT


@functools.lru_cache(maxsize=1 << 17)
def _judged(judge: Judge, question: str, steps: tuple[str, ...], reference: str) -> tuple:
    """((start, end), score) of every step; a judge that cannot tell has not said "right"."""
    return tuple(zip(spans(steps), np.nan_to_num(judge(question, steps, reference)).tolist()))


def before_first_error(good_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """[N, T] the labels up to a row's first token that is not right; 0 after it."""
    clean_NT = ((good_NT >= 0.5) | (mask_NT == 0)).cumprod(1)
    return good_NT * clean_NT


# ---------------------------------------------------------------- weights


def nsa_weights(good_NT: Tensor, right_N: Tensor, beta: float) -> Tensor:
    """BCPG-NSA's token weight: beta on the trusted right steps of wrong answers, 1 elsewhere.

        w_it = 1 - (1 - beta) good_it   in wrong answers,   1   in right ones

    Source: arXiv 2505.14403, Eq. 7, which has good in {0, 1}; scores in between are the soft variant, ours.

    Args:
        good_NT: [N, T] 0 to 1.
        right_N: [N] bool, by verdict.
        beta: the mining coefficient, -1 to 1. 1: nothing is spared, 0: masked, below 0: pushed up.

    Raises:
        ValueError: beta is outside [-1, 1] or a score outside [0, 1].
    """
    if not -1 <= beta <= 1:
        raise ValueError(f"beta must be between -1 and 1; got {beta}.")
    if not ((good_NT >= 0) & (good_NT <= 1)).all():
        raise ValueError("a step's score must be between 0 and 1.")
    return torch.where(right_N[:, None], 1.0, 1 - (1 - beta) * good_NT)


def uniform_labels(good_NT: Tensor, mask_NT: Tensor, right_N: Tensor) -> Tensor:
    """Control: every token of every wrong answer has the same label, the mean over wrong answers of their share of right tokens.

    As heavy in sum as the labels themselves where the loss averages each answer over its tokens: it separates "which tokens"
    and "which answers" from "less punishment".
    """
    wrong_N = ~right_N
    share = _shares(good_NT, mask_NT)[wrong_N].mean() if wrong_N.any() else torch.tensor(0.0)
    return share * mask_NT * wrong_N[:, None]


def answer_labels(good_NT: Tensor, mask_NT: Tensor, right_N: Tensor) -> Tensor:
    """Control: each token of a wrong answer has that answer's own mean label; it tells "which tokens" from "which answers"."""
    return _shares(good_NT, mask_NT)[:, None] * mask_NT * ~right_N[:, None]


def random_labels(good_NT: Tensor, mask_NT: Tensor, right_N: Tensor, seed: int) -> Tensor:
    """Control: in each wrong answer as many tokens as are right, at random places of the same answer."""
    luck_NT = torch.from_numpy(np.random.default_rng(seed).random(mask_NT.shape))
    order_NT = torch.where(mask_NT > 0, luck_NT, 2.0).argsort(1).argsort(1)
    return ((order_NT < good_NT.sum(1, keepdim=True).round()) * mask_NT * ~right_N[:, None]).to(mask_NT.dtype)


def anywhere_labels(good_NT: Tensor, mask_NT: Tensor, right_N: Tensor, seed: int) -> Tensor:
    """Control: as many tokens as are right, at random among all tokens of wrong answers."""
    candidates = (mask_NT > 0) & ~right_N[:, None]
    count, chosen_NT = int(good_NT[candidates].sum().round()), torch.zeros_like(mask_NT)
    places = candidates.nonzero()
    picked = places[np.random.default_rng(seed).permutation(len(places))[:count]]
    chosen_NT[picked[:, 0], picked[:, 1]] = 1.0
    return chosen_NT


def bad_labels(good_NT: Tensor, mask_NT: Tensor, right_N: Tensor) -> Tensor:
    """Control: the tokens of wrong answers that are *not* right, so that the right ones carry the punishment."""
    return (1 - good_NT) * mask_NT * ~right_N[:, None]


def recentred(advantages_NT: Tensor, mask_NT: Tensor, group_N: Tensor) -> Tensor:
    """Token advantages less their group's level, so that each group's answers, averaged over tokens, sum to zero again.

        A'_it = A_it - mean over the group's answers of (1/|y_i| sum_t A_it)

    Weights below 1 on punished tokens alone leave a net push upwards; this takes it away. Source: ours.
    """
    means_N = _shares(advantages_NT, mask_NT)
    levels_N = means_N.double() - centred(means_N, group_N)[0]
    return (advantages_NT - levels_N[:, None].to(advantages_NT.dtype)) * mask_NT


def _shares(values_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """[N] the mean over each row's tokens."""
    return (values_NT * mask_NT).sum(1) / mask_NT.sum(1).clamp(min=1)


# ---------------------------------------------------------------- what wrong answers hold


def way_of(text: str) -> str:
    """How an answer was worked out: checked, worked or direct."""
    return "checked" if "?" in text else "worked" if "=" in text else "direct"


def contents(rollouts: Rollouts) -> pd.DataFrame:
    """One row per step of a wrong answer: row, way, step (1, 2, ...), text, label, tokens."""
    rows, every = [], steps_of(rollouts)
    for row in (~rollouts.correct_N).nonzero()[:, 0].tolist():
        labels = step_labels(rollouts.problems[row].prompt, every[row])
        rows += [{"row": row, "way": way_of(rollouts.texts[row]), "step": k, "text": step, "label": label, "tokens": len(step)}
                 for k, (step, label) in enumerate(zip(every[row], labels), start=1)]
    return pd.DataFrame(rows, columns=["row", "way", "step", "text", "label", "tokens"])


def judge_quality(rollouts: Rollouts, judges: dict[str, Judge]) -> pd.DataFrame:
    """Each judge against the truth, by tokens of wrong answers: share called right, precision, recall."""
    truth_NT = judged_tokens(rollouts) >= 0.5
    inside = (rollouts.mask_NT > 0) & ~rollouts.correct_N[:, None]
    rows = {}
    for name, judge in judges.items():
        called_NT = judged_tokens(rollouts, judge) >= 0.5
        hits = float((called_NT & truth_NT)[inside].sum())
        rows[name] = {"called right": float(called_NT[inside].float().mean()),
                      "precision": hits / max(1.0, float(called_NT[inside].sum())),
                      "recall": hits / max(1.0, float(truth_NT[inside].sum()))}
    return pd.DataFrame(rows).T


def row_shares(rollouts: Rollouts, judge: Judge = oracle) -> Tensor:
    """[N] the share of right steps among the steps that show work; NaN for answers without work."""
    shares = []
    for problem, text in zip(rollouts.problems, rollouts.texts):
        work = [step for step in line_steps(text) if not step.startswith("#")]
        scores = judge(problem.prompt, line_steps(text), problem.gold)[: len(work)]
        shares.append(float(np.mean(scores)) if work else float("nan"))
    return torch.tensor(shares)


# ---------------------------------------------------------------- real responses


def mined_arithmetic(recorded: pd.DataFrame) -> pd.DataFrame:
    """What arithmetic finds in recorded responses of real models, those labelled wrong and, beside them, those labelled right.

    Args:
        recorded: columns response and label (True, False; others are left out), as `recorded_responses` gives them.

    Returns:
        A row per label. responses, steps; checkable: share of steps with an equation of numbers; sound: share of these in which
        every equation holds; mined: share of all characters that stand in sound steps; no slip: share of responses with
        something to check and nothing that fails.
    """
    rows = {}
    for label, name in ((False, "wrong answers"), (True, "right answers")):
        texts = recorded.response[recorded.label.map(lambda x: x is label or x == str(label).lower())]
        cut = [text_steps(text) for text in texts]
        scores = [arithmetic("", steps) for steps in cut]
        flat = np.array([s for row in scores for s in row])
        lengths = np.array([len(step) for steps in cut for step in steps])
        checked = [np.array(row)[~np.isnan(row)] for row in scores]
        slips = [row.min() < 1 for row in checked if len(row)]
        rows[name] = {"responses": len(texts), "steps": len(flat), "checkable": float(np.mean(~np.isnan(flat))),
                      "sound": float(np.nanmean(flat)), "mined": float(lengths[flat == 1].sum() / lengths.sum()),
                      "no slip": 1 - float(np.mean(slips))}
    return pd.DataFrame(rows).T
