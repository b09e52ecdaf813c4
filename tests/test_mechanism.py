"""What one update does, by hand."""

import pytest
import torch

from polarity_lib import mechanism as m
from polarity_lib.methods import method_named

PROBS = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)
RIGHT = torch.tensor([False, True, False, True])
# Two prompts: one right and one wrong answer; then two wrong ones.
BATCH = m.hand_made(right_N=[True, False, False, False], group_N=[0, 0, 1, 1], length_N=[2, 4, 1, 1], max_new_tokens=8)


def weights(name, **options):
    return m.token_weights(method_named(name, options), BATCH)[:, 0].tolist()


def test_weights_of_released_psr_and_nsr_by_hand():
    # Eight tokens, two of them in the one right row: its mean is over 2 tokens, times 1 row of 4.
    assert weights("psr") == pytest.approx([1 / 2 / 4, 0, 0, 0])
    # Three wrong rows with six tokens, times 3 rows of 4.
    assert weights("nsr") == pytest.approx([0, -1 / 6 * 3 / 4, -1 / 6 * 3 / 4, -1 / 6 * 3 / 4])
    assert weights("psr_all_tokens") == pytest.approx([1 / 8, 0, 0, 0])


def test_weights_of_group_methods_by_hand():
    # Mean 1/2, deviation 1/sqrt 2: advantages +-1/sqrt 2; the group of two wrongs teaches nothing.
    a = 0.5**0.5
    assert weights("grpo") == pytest.approx([a / 2 / 4, -a / 4 / 4, 0, 0], abs=1e-5)
    assert weights("nsr_grpo_seq") == pytest.approx([0, -a / 4 / 4, 0, 0], abs=1e-5)
    assert weights("dr_grpo") == pytest.approx([0.5 / 32, -0.5 / 32, 0, 0])


def test_the_comparison_has_a_row_per_rollout():
    table = m.compare_definitions({"psr": method_named("psr"), "nsr": method_named("nsr")}, BATCH)
    assert table.index.tolist() == [(0, "right", 2), (0, "wrong", 4), (1, "wrong", 1), (1, "wrong", 1)]
    assert (table.nsr.to_numpy()[1:] < 0).all() and table.psr.to_numpy()[1:].tolist() == [0, 0, 0]


def test_a_method_that_needs_a_critic_is_refused():
    with pytest.raises(ValueError, match="ppo also needs values"):
        m.token_weights(method_named("ppo"), BATCH)


def test_on_average_right_only_and_wrong_only_are_one():
    psr, nsr = m.expected_update(PROBS, RIGHT, 1, 0), m.expected_update(PROBS, RIGHT, 0, 1)
    # P(right) = 3/8: answer 0 moves by 1/2 (0 - 3/8), answer 1 by 1/4 (1 - 3/8).
    assert torch.allclose(psr, torch.tensor([-3 / 16, 5 / 32, -3 / 64, 5 / 64], dtype=torch.float64))
    assert torch.allclose(psr, nsr)


def test_batches_stray_less_where_the_kept_polarity_is_rare():
    mean_V, stray_psr = m.update_noise(PROBS, RIGHT, 1, 0)
    assert torch.allclose(mean_V, m.expected_update(PROBS, RIGHT, 1, 0), atol=0.01)
    nearly_right = torch.tensor([0.02, 0.5, 0.01, 0.47], dtype=torch.float64)
    stray_nsr = m.update_noise(nearly_right, RIGHT, 0, 1)[1]
    assert stray_nsr < 0.5 * m.update_noise(nearly_right, RIGHT, 1, 0)[1]


def test_an_update_of_one_distribution():
    after = m.after_update(PROBS, [(0, -1.0)], rate=1.0)
    assert after[0] < PROBS[0] and (after[1:] > PROBS[1:]).all()
    assert after.sum().item() == pytest.approx(1.0)
    assert torch.allclose(m.after_update(PROBS, [(0, -1.0)], rate=1e-12), PROBS)


def test_only_one_clip_binds_per_polarity():
    assert m.clip_gradient([0.5, 1.0, 1.5], +1.0).tolist() == [1, 1, 0]
    assert m.clip_gradient([0.5, 1.0, 1.5], -1.0).tolist() == [0, 1, 1]
