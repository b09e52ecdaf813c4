"""A3PO: GRPO with more weight on some tokens, the four cells it was found with, and its controls.

The weights themselves are pure functions of `weights`; here they become methods.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polarity_lib.config import choose, derive_seed
from polarity_lib.methods import Method, Progress, probabilities, weighted
from polarity_lib.papers.a3po import weights as token_weights
from polarity_lib.papers.baselines.methods import dapo, grpo
from polarity_lib.rollouts import Rollouts

A3PO_CODE = "Sample-Polarity-of-RLVR; arXiv 2512.21625"
SELECTIONS = ("a3po", "entropy", "swapped", "random", "position")


def token_shaped(right_high: float = 1.0, right_low: float = 1.0, wrong_high: float = 1.0, wrong_low: float = 1.0,
                 fraction: float = 0.2, metric: str = "probability") -> Method:
    """GRPO with constant weights on the likeliest / unlikeliest fifth of right / wrong answers (A3PO 4.4).

    Args:
        metric: "probability", or "entropy": then high and low rank the entropy of the position.
    """
    choose("metric", metric, ("probability", "entropy"))
    scales = {("right", "high"): right_high, ("right", "low"): right_low,
              ("wrong", "high"): wrong_high, ("wrong", "low"): wrong_low}
    scales = {cell: scale for cell, scale in scales.items() if scale != 1.0}

    def weights(rollouts, progress):
        values_NT = probabilities(rollouts) if metric == "probability" else rollouts.entropies_NT
        return token_weights.cell_weights(values_NT, rollouts.mask_NT, rollouts.correct_N, scales, fraction)

    under = grpo()
    return replace(under, name="token_shaped", source=A3PO_CODE, advantage=weighted(under.advantage, weights))


@dataclass(frozen=True)
class A3POOptions:
    """What the paper leaves open, and the controls.

    Attributes:
        weight: rho, the weight at the first step.
        reaches_one: share of the training after which the weight is 1; 0 keeps it constant.
        slope: alpha per tick of the clock, instead of `reaches_one` (the paper's 0.005).
        clock: "batches" of rollouts or optimizer "updates"; matters for `slope`. The paper does not say which.
        fraction: of each answer's tokens.
        selection: which tokens. Controls: "swapped" cells, "random" tokens, or random at the same "position"s.
        polarity: "both", "right" or "wrong": whose tokens are weighted.
        mean_one: rescale each answer's weights to mean 1, so that the size of the step does not grow.
        base: "grpo", or "dapo" with its loss and its sampling. The paper does not say which it used.
    """

    weight: float = 2.0
    reaches_one: float = 0.4
    slope: float = 0.0
    clock: str = "batches"
    fraction: float = 0.2
    selection: str = "a3po"
    polarity: str = "both"
    mean_one: bool = False
    base: str = "grpo"

    def __post_init__(self):
        choose("selection", self.selection, SELECTIONS)
        choose("clock", self.clock, ("batches", "updates"))
        choose("polarity", self.polarity, ("both", "right", "wrong"))
        choose("base", self.base, ("grpo", "dapo"))

    def weight_at(self, progress: Progress) -> float:
        """The weight now: linear from `weight` to 1, by a literal slope or a share of the training."""
        if self.slope:
            ticks = progress.step * (progress.updates_per_step if self.clock == "updates" else 1)
            return token_weights.decayed_weight(ticks, self.weight, self.slope)
        if not self.reaches_one:
            return self.weight
        slope = (self.weight - 1) / (self.reaches_one * progress.steps)
        return token_weights.decayed_weight(progress.step, self.weight, slope)


def a3po(options: A3POOptions = A3POOptions()) -> Method:
    """GRPO with extra weight, decaying to 1, on unlikely tokens of right and likely tokens of wrong answers."""

    def weights(rollouts, progress):
        weights_NT = chosen_weights(rollouts, options.weight_at(progress), options.fraction, options.selection, progress.step)
        if options.polarity != "both":
            wanted_N = rollouts.correct_N if options.polarity == "right" else ~rollouts.correct_N
            weights_NT = torch.where(wanted_N[:, None], weights_NT, 1.0)
        return token_weights.mean_one(weights_NT, rollouts.mask_NT) if options.mean_one else weights_NT

    under = grpo() if options.base == "grpo" else dapo()
    return replace(under, name="a3po", source="arXiv 2512.21625", advantage=weighted(under.advantage, weights))


def chosen_weights(rollouts: Rollouts, weight: float, fraction: float, selection: str, step: int) -> Tensor:
    """A3PO's token weights, or those of one of its controls."""
    mask_NT, right_N, probs_NT = rollouts.mask_NT, rollouts.correct_N, probabilities(rollouts)
    if selection == "entropy":
        return token_weights.a3po_weights_by_entropy(rollouts.entropies_NT, mask_NT, right_N, weight, fraction)
    if selection == "swapped":
        return token_weights.swapped_weights(probs_NT, mask_NT, right_N, weight, fraction)
    seed = derive_seed(selection, step, *(p.key for p in rollouts.problems))
    if selection == "random":
        return token_weights.random_weights(mask_NT, weight, seed, fraction)
    if selection == "position":
        chosen_NT = token_weights.a3po_weights(probs_NT, mask_NT, right_N, 2.0, fraction) > 1
        return token_weights.position_matched_weights(chosen_NT, mask_NT, weight, seed, right_N)
    return token_weights.a3po_weights(probs_NT, mask_NT, right_N, weight, fraction)


METHODS = {f.__name__: f for f in (token_shaped, a3po)}

CELLS = {cell: "[0, inf)" for cell in ("right_high", "right_low", "wrong_high", "wrong_low")}
LIMITS = {
    "token_shaped": CELLS | {"fraction": "(0, 1]"},
    "a3po": {"weight": "[1, inf)", "reaches_one": "[0, 1]", "slope": "[0, inf)", "fraction": "(0, 1]"},
}
