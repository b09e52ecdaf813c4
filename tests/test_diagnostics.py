"""What a batch looks like, by hand."""

import math

import pytest
import torch

from polarity_lib.diagnostics import (
    clip_share, describe_advantages, describe_ratios, describe_rollouts, token_average, update_norm,
)
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import Verdict

# Three groups of two: one mixed, one all right, one all wrong (of which one was cut off).
LABELS = ["correct", "wrong", "correct", "correct", "wrong", "truncated"]
MASK = torch.tensor([[1.0, 1], [1, 0], [1, 0], [1, 0], [1, 1], [1, 1]])
ENTROPIES = torch.tensor([[1.0, 2], [4, 9], [0, 9], [0, 9], [1, 1], [3, 3]])  # the nines are padding
BATCH = Rollouts(
    problems=[], group_N=torch.tensor([0, 0, 1, 1, 2, 2]), prompt_ids=[], tokens_NT=MASK.long(),
    mask_NT=MASK, logprobs_NT=-0.5 * MASK, entropies_NT=ENTROPIES, finished_N=torch.ones(6) > 0,
    texts=[""] * 6, verdicts=[Verdict(label, None, "", "") for label in LABELS], drawn=6,
)  # fmt: skip
RIGHT = torch.tensor([True, False, True, True, False, False])


def test_a_batch_by_hand():
    found = describe_rollouts(BATCH)
    assert found["train/reward"] == pytest.approx(0.5)
    assert found["groups/all_right"] == found["groups/all_wrong"] == pytest.approx(1 / 3)
    assert found["sampling/drawn"] == 6 and found["sampling/tokens"] == 9
    assert found["length/all"] == pytest.approx(9 / 6)
    assert found["length/right"] == pytest.approx(4 / 3) and found["length/wrong"] == pytest.approx(5 / 3)
    assert found["entropy/all"] == pytest.approx(15 / 9)
    assert found["entropy/right"] == pytest.approx(3 / 4) and found["entropy/wrong"] == pytest.approx(12 / 5)
    assert found["surprise/all"] == pytest.approx(0.5)
    assert found["verdicts/truncated"] == pytest.approx(1 / 6) and found["verdicts/timed_out"] == 0
    assert sum(v for k, v in found.items() if k.startswith("verdicts/")) == pytest.approx(1)


def test_a_polarity_without_rows_is_undefined():
    found = describe_rollouts(BATCH.but(verdicts=[Verdict("wrong", None, "", "")] * 6))
    assert math.isnan(found["length/right"]) and math.isnan(found["entropy/right"])
    assert found["groups/all_wrong"] == 1


def test_the_signal_by_hand():
    advantages = torch.tensor([[0.5, 0.5], [-1, 0], [0, 0], [0, 0], [-1, -1], [2, 2]])
    found = describe_advantages(advantages, MASK, RIGHT)
    assert found["signal/rows"] == 4
    assert found["signal/right_share"] == pytest.approx(1 / 8)  # 1 of 1 + 1 + 2 + 4
    assert found["signal/sign_disagreement"] == pytest.approx(1 / 4)  # the last row is wrong and pushed up


def test_no_signal_has_no_share():
    found = describe_advantages(torch.zeros(6, 2), MASK, RIGHT)
    assert found["signal/rows"] == 0
    assert math.isnan(found["signal/right_share"]) and math.isnan(found["signal/sign_disagreement"])


def test_clipping_by_hand():
    ratio = torch.tensor([[1.3, 0.7, 1.3, 0.7, 1.1, 9.0]])
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0, 1.0, 1.0]])
    mask = torch.tensor([[1.0, 1, 1, 1, 1, 0]])
    assert clip_share(ratio.log(), torch.zeros(1, 6), advantages, mask) == pytest.approx(2 / 5)  # first, fourth


def test_what_a_clip_and_a_sequence_mask_would_take():
    """Two rows that rise and two that fall, of two tokens; nines are padding."""
    ratio = torch.tensor([[1.3, 1.1], [0.7, 9.0], [0.79, 1.3], [0.95, 0.95]])
    old = torch.tensor([[0.3, 0.3], [0.3, 0.3], [0.05, 0.3], [0.9, 0.9]]).log()
    advantages = torch.tensor([[1.0, 1.0], [1.0, 0.0], [-1.0, -1.0], [-2.0, -2.0]])
    mask = torch.tensor([[1.0, 1], [1, 0], [1, 1], [1, 1]])
    found = describe_ratios(old + ratio.log(), old, advantages, mask)
    assert found["clip/raised"] == pytest.approx(1 / 3)  # 1.3; a ratio of 0.7 is no reason to stop raising
    assert found["clip/lowered"] == pytest.approx(1 / 4)  # 0.79; 1.3 may still be lowered
    assert (found["clip/lowered_rare"], found["clip/lowered_middle"], found["clip/lowered_sure"]) == (1, 0, 0)
    # Means of log(old / new): (0.2357 - 0.2624) / 2 < 0 and 0.0513.
    assert (found["away/0.05"], found["away/0.1"]) == (0.5, 0.0)
    nothing = describe_ratios(old, old, torch.zeros(4, 2), mask)
    assert all(math.isnan(value) for value in nothing.values())


def test_averages_and_norms_by_hand():
    assert token_average(torch.tensor([[1.0, 3, 9]]), torch.tensor([[1.0, 1, 0]])) == 2
    assert math.isnan(token_average(torch.ones(1, 2), torch.zeros(1, 2)))
    assert update_norm([torch.zeros(2), torch.ones(1)], [torch.tensor([3.0, 0]), torch.tensor([5.0])]) == 5
