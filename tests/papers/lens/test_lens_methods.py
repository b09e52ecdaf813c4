"""LENS and its rivals: by pencil, then what must hold for any confidences, then as methods of the loop."""

import math

import pytest
import torch
from gradients import G, counted, differ, gradient_by_hand, standardised
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.advantages import grpo
from polarity_lib.config import ConfigError
from polarity_lib.mechanism import hand_made, token_weights
from polarity_lib.methods import Progress, method_named
from polarity_lib.run import prepare
from polarity_lib.papers.lens.methods import (
    METHODS, LensOptions, calibrated_rewards, confidence, difficulty, importance_difficulty, keep_unless_all_right,
    lens_advantage, ngrpo_advantage, theory_odds, theory_rewards, uniform_penalty_advantage,
)

# Four answers of one prompt; each has two tokens of equal probability.
PBAR = torch.tensor([0.9, 0.8, 0.6, 0.5], dtype=torch.float64)
LOGS = PBAR.log()
WRONG = torch.zeros(4, dtype=torch.float64)
MIXED = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
GROUP = torch.zeros(4, dtype=torch.long)
MASK = torch.ones(4, 2)
LOGPROBS = LOGS[:, None].repeat(1, 2)


def near(values, abs=1e-6):
    return pytest.approx(values, abs=abs)


def lens(rewards_N, group_N, logprobs_NT, mask_NT, seed=None, **options):
    return lens_advantage(rewards_N, group_N, logprobs_NT, mask_NT, LensOptions(**options), seed)


def four(rewards, **options):
    return lens(rewards, GROUP, LOGPROBS, MASK, **options).tolist()


# ---------------------------------------------------------------- by hand


def test_confidence_is_a_mean_or_a_sum_over_real_tokens():
    logprobs = torch.tensor([[-1.0, -3.0, float("nan")], [-2.0, 5.0, 7.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert confidence(logprobs, mask).tolist() == [-2, -2]
    assert confidence(logprobs, mask, normalise=False).tolist() == [-4, -2]


def test_the_negative_group_of_the_notes():
    hard = difficulty(LOGS, WRONG, GROUP)
    assert hard.exp().tolist() == near([1.8] * 4)
    assert theory_odds(LOGS, hard).tolist() == near([1, 0.8, 0.5, 0.384615])
    assert calibrated_rewards(WRONG, LOGS, hard, GROUP).tolist() == near([-0.25, -0.2, -0.125, -0.096154])
    assert four(WRONG, alpha=1.0) == near([-0.082212, -0.032212, 0.042788, 0.071635])
    assert four(WRONG) == near([-0.020553, -0.008053, 0.010697, 0.017909])


def test_the_mixed_group_of_the_notes_length_normalised():
    hard = difficulty(LOGS, MIXED, GROUP)
    assert importance_difficulty(LOGS, MIXED, GROUP).exp().tolist() == near([3.2] * 4)  # (1/4 * 1/0.8)^-1
    assert hard.exp().tolist() == near([3.2] * 4)
    assert theory_odds(LOGS, hard)[[0, 2, 3]].tolist() == near([0.391304, 0.230769, 0.185185])
    shaped = calibrated_rewards(MIXED, LOGS, hard, GROUP)
    assert shaped.tolist() == near([-0.097826, 1, -0.057692, -0.046296])
    assert (shaped.mean().item(), shaped.std(correction=0).item(), shaped.std().item()) == near((0.199546, 0.462538, 0.534093))
    assert four(MIXED, ddof=0, epsilon=0.0) == near([-0.642914, 1.730567, -0.556146, -0.531508])
    assert four(MIXED, epsilon=0.0) == near([a * 0.462538 / 0.534093 for a in (-0.642914, 1.730567, -0.556146, -0.531508)], 5e-6)


def test_the_mixed_group_of_the_notes_raw():
    # A thousand tokens: the right answer's probability is 0.8^1000, about 1e-97, so D falls back to 1.8.
    logprobs, mask = LOGS[:, None].repeat(1, 1000), torch.ones(4, 1000)
    hard = difficulty(LOGS, MIXED, GROUP, importance_logs_N=1000 * LOGS)
    assert hard.exp().tolist() == near([1.8] * 4)
    assert calibrated_rewards(MIXED, LOGS, hard, GROUP).tolist() == near([-0.25, 1, -0.125, -0.096154])
    advantages = lens(MIXED, GROUP, logprobs, mask, variant="R", ddof=0, epsilon=0.0)
    assert advantages.tolist() == near([-0.757839, 1.720629, -0.509992, -0.452797])


def test_the_raw_probability_everywhere_makes_the_penalty_sparse():
    # Over 100 tokens 0.8/0.9 becomes 8e-6: only the surest wrong answer is still pushed down.
    logprobs, mask = LOGS[:, None].repeat(1, 100), torch.ones(4, 100)
    raw = lens(WRONG, GROUP, logprobs, mask, alpha=1.0, normalise=False, demean=False)
    assert raw.tolist() == near([-0.25, 0, 0, 0], 1e-5)
    either = [lens(MIXED, GROUP, logprobs, mask, variant=v, normalise=False).tolist() for v in "NR"]
    assert either[0] == either[1]


def test_a_right_answers_confidence_counts_in_the_maximum():
    sure = torch.tensor([1.0, 0.0, 0.0, 0.0])  # D_imp = 4 * 0.9 = 3.6 in one variant, 2 * 0.9 in the other
    assert difficulty(LOGS, sure, GROUP, importance_logs_N=100 * LOGS).exp().tolist() == near([1.8] * 4)


def test_importance_difficulty_of_two_right_answers_is_a_harmonic_mean():
    two = torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert importance_difficulty(LOGS, two, GROUP).exp().tolist() == near([4 / (1 / 0.9 + 1 / 0.8)] * 4)
    assert importance_difficulty(LOGS, WRONG, GROUP).tolist() == [math.inf] * 4
    tiny = importance_difficulty(LOGS - 5000, two, GROUP)  # exp(-5000) is 0 in any precision
    assert tiny.tolist() == near([math.log(4 / (1 / 0.9 + 1 / 0.8)) - 5000] * 4)


@pytest.mark.parametrize("factor", [1.1, 1.5, 2.0, 4.0, 8.0])
def test_the_factor_sets_the_odds_of_the_surest_answer(factor):
    odds = theory_odds(LOGS, difficulty(LOGS, WRONG, GROUP, factor))
    assert odds[0].item() == near(1 / (factor - 1))  # above 1 where factor is below 2
    assert odds.tolist() == near([p / (0.9 * factor - p) for p in PBAR.tolist()])


def test_switches_in_negative_groups():
    unscaled = [-1, -0.8, -0.5, -5 / 13]
    assert four(WRONG, alpha=1.0, demean=False) == near([u / 4 for u in unscaled])
    assert four(WRONG, alpha=1.0, demean=False, over_group=False) == near(unscaled)
    assert four(WRONG, demean=False) == near([u / 16 for u in unscaled])  # alpha = 1/4
    assert four(WRONG, negative=False) == [0, 0, 0, 0]
    assert four(WRONG, mixed=False) == four(WRONG)


def test_switches_in_mixed_groups():
    assert four(MIXED, mixed=False) == near(grpo(MIXED, GROUP).tolist(), 1e-12)
    assert four(MIXED, negative=False) == four(MIXED)
    assert four(MIXED, alpha=7.0) == four(MIXED)
    shaped = torch.tensor([-9 / 23, 1, -6 / 26, -5 / 27], dtype=torch.float64)  # pbar / (3.2 - pbar), not over 4
    standard = (shaped - shaped.mean()) / shaped.std(correction=0)
    assert four(MIXED, over_group=False, ddof=0, epsilon=0.0) == near(standard.tolist())


def test_all_right_groups_get_nothing_or_the_mirror():
    right = torch.ones(4, dtype=torch.float64)
    assert four(right) == [0, 0, 0, 0]
    mirrored = four(right, mirror=True)
    assert mirrored == near([-0.020553, -0.008053, 0.010697, 0.017909])
    assert mirrored.index(max(mirrored)) == 3  # the least confident right answer
    assert four(right, mirror=True, demean=False) == mirrored
    assert four(MIXED, mirror=True) == four(MIXED) and four(WRONG, mirror=True) == four(WRONG)


def test_controls_scramble_negative_groups_only():
    assert four(WRONG, scramble="flip") == near([-a for a in four(WRONG)], 1e-12)
    shuffled = [four(WRONG, scramble="shuffle", seed=s) for s in range(5)]
    assert all(sorted(s) == near(sorted(four(WRONG)), 1e-12) for s in shuffled)
    assert len({tuple(s) for s in shuffled}) > 1
    assert four(WRONG, scramble="shuffle", seed=3) == shuffled[3]
    assert four(MIXED, scramble="flip") == four(MIXED, scramble="shuffle", seed=0) == four(MIXED)


def test_a_shuffle_stays_inside_its_group():
    logs = torch.cat([LOGS, LOGS - 3])
    groups, mask = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), torch.ones(8, 1)
    options = {"alpha": 1.0, "demean": False, "over_group": False, "factor": 3.0}
    rewards = torch.tensor([0.0] * 4 + [0.0, 0.0, 0.0, 1.0], dtype=torch.float64)  # the second group is mixed
    plain = lens(rewards, groups, logs[:, None], mask, **options)
    shuffled = lens(rewards, groups, logs[:, None], mask, scramble="shuffle", seed=1, **options)
    assert shuffled[:4].sort()[0].tolist() == near(plain[:4].sort()[0].tolist(), 1e-12)
    assert shuffled[4:].tolist() == plain[4:].tolist()


def test_groups_of_one_and_an_all_wrong_batch():
    alone, group, mask = torch.tensor([1.0, 0.0]), torch.tensor([5, 3]), torch.ones(2, 1)
    logprobs = torch.tensor([[-0.5], [-1.0]])
    for options in ({}, {"mixed": False}, {"mirror": True}, {"scramble": "shuffle", "seed": 0}):
        assert lens(alone, group, logprobs, mask, **options).tolist() == [0, 0]
    assert lens(alone, group, logprobs, mask, demean=False).tolist() == [0, -0.25]  # odds 1, times alpha
    assert uniform_penalty_advantage(alone, group, penalty=0.5).tolist() == [0, -0.5]
    both = lens(torch.zeros(8), torch.arange(8) % 2, torch.cat([LOGPROBS, LOGPROBS]), torch.ones(8, 2))
    assert both.sum().item() == near(0) and both.abs().max() > 0.01


def test_theory_rewards_by_hand():
    log_d = torch.full((4,), 2.0, dtype=torch.float64).log()
    assert theory_rewards(MIXED, LOGS, log_d).tolist() == near([-9 / 11, 1, -6 / 14, -5 / 15])
    low = torch.tensor([2.0, 0.7, 2.0, 2.0], dtype=torch.float64).log()  # D below a *right* answer: harmless
    assert theory_rewards(MIXED, LOGS, low).tolist() == near([-9 / 11, 1, -6 / 14, -5 / 15])
    for equal_or_below in (0.9, 0.85):
        with pytest.raises(ValueError, match="below the difficulty"):
            theory_rewards(MIXED, LOGS, torch.full((4,), equal_or_below, dtype=torch.float64).log())


def test_ngrpo_by_hand():
    rewards = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    groups = torch.tensor([4, 4, 4, 9, 9, 9, 1])
    # All wrong: 0, 0, 0 and a 1 have mean 1/4 and std 1/2. One of three right: 1, 0, 0 and a 1, mean 1/2, std 1/sqrt 3.
    half = 3**0.5 / 2
    assert ngrpo_advantage(rewards, groups, epsilon=0.0)[:6].tolist() == near([-0.5] * 3 + [half, -half, -half])
    assert ngrpo_advantage(rewards, groups, ddof=0)[0].item() == near(-1 / 3**0.5, 1e-5)
    assert ngrpo_advantage(rewards, groups)[6] == 0  # all right, even alone


def test_ngrpo_drops_all_right_groups_and_has_its_own_clip():
    """Groups 0 (mixed), 1 (all right, twice as long), 2 (all wrong): the mean is over the other two groups' six tokens."""
    four = hand_made([1, 0, 1, 1, 0, 0], [0, 0, 1, 1, 2, 2], [1, 1, 2, 2, 2, 2])
    method = method_named("ngrpo")
    assert keep_unless_all_right(four.correct_N, four.group_N).tolist() == [True, True, False, False, True, True]
    found = token_weights(method, four)
    # Mixed: 1, 0 and a 1 have mean 2/3 and std 1/sqrt 3. All wrong: 0, 0 and a 1 have mean 1/3 and the same std.
    up, down, dead = 3**0.5 / 3, -2 * 3**0.5 / 3, -(3**0.5) / 3
    assert found[:, 0].tolist() == near([up / 6, down / 6, 0, 0, dead / 6, dead / 6], 1e-5)
    ratios = torch.tensor([[1.2, 1.3, 0.85, 0.8]], dtype=torch.float64)
    for sign, bounded in ((1.0, [1.2, 1.24, 0.85, 0.8]), (-1.0, [1.2, 1.3, 0.85, 0.84])):
        old = torch.full((1, 4), -1.0, dtype=torch.float64)
        loss_NT = method.token_loss(ratios.log() + old, old, sign * torch.ones(1, 4), torch.ones(1, 4), {})
        assert (-sign * loss_NT)[0].tolist() == near(bounded)


def test_uniform_penalty_by_hand():
    rewards = torch.tensor([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    groups = torch.tensor([0, 0, 1, 1, 2, 2])
    half = 0.5**0.5
    assert uniform_penalty_advantage(rewards, groups, 0.3, epsilon=0.0).tolist() == near([-0.3, -0.3, half, -half, 0, 0])


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rewards_N": torch.tensor([0.0, 1.0, -1.0, 0.0])}, "0 .wrong. or 1"),
        ({"rewards_N": torch.tensor([0.0, 1.0, float("nan"), 0.0])}, "finite"),
        ({"rewards_N": torch.zeros(3)}, "one group"),
        ({"group_N": torch.zeros(4)}, "integers"),
        ({"logprobs_NT": -torch.ones(4, 3)}, r"both be \[N, T\]"),
        ({"logprobs_NT": -torch.ones(5, 2), "mask_NT": torch.ones(5, 2)}, "one per reward"),
        ({"logprobs_NT": torch.full((4, 2), 0.01)}, "above 0"),
        ({"logprobs_NT": torch.full((4, 2), float("nan"))}, "NaN"),
        ({"logprobs_NT": torch.full((4, 2), -float("inf"))}, "infinite"),
        ({"mask_NT": torch.tensor([[1, 1], [1, 0], [0, 0], [1, 1]])}, "without tokens"),
        ({"variant": "X"}, "Valid: N, R"),
        ({"scramble": "noise"}, "flip, shuffle"),
        ({"scramble": "shuffle"}, "seed"),
        ({"alpha": -0.1}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"factor": 1.0}, "factor"),
        ({"factor": float("inf")}, "factor"),
        ({"ddof": 2}, "ddof"),
    ],
)
def test_bad_input_is_refused(change, reason):
    good = {"rewards_N": MIXED, "group_N": GROUP, "logprobs_NT": LOGPROBS, "mask_NT": MASK}
    with pytest.raises(ValueError, match=reason):
        lens(**{**good, **change})


@pytest.mark.parametrize("options", [{"variant": "X"}, {"scramble": "noise"}, {"alpha": -0.1}, {"alpha": math.inf}])
def test_options_that_cannot_be_are_refused_when_they_are_written_down(options):
    with pytest.raises(ValueError, match="variant|scramble|alpha"):
        LensOptions(**options)


def test_the_parts_refuse_bad_input_too():
    with pytest.raises(ValueError, match="above 0"):
        difficulty(PBAR, MIXED, GROUP)  # probabilities instead of their logarithms
    with pytest.raises(ValueError, match="shape"):
        importance_difficulty(LOGS[:3], MIXED, GROUP)
    with pytest.raises(ValueError, match="log D"):
        theory_rewards(MIXED, LOGS, torch.zeros(3))
    with pytest.raises(ValueError, match="penalty"):
        uniform_penalty_advantage(MIXED, GROUP, -1.0)
    for rival in (ngrpo_advantage, lambda r, g: uniform_penalty_advantage(r, g, 1.0)):
        with pytest.raises(ValueError, match="neither"):
            rival(MIXED - 1, GROUP)
        with pytest.raises(ValueError, match="integers"):
            rival(MIXED, GROUP.float())
    with pytest.raises(ValueError, match="ddof"):
        ngrpo_advantage(MIXED, GROUP, ddof=3)
    with pytest.raises(ValueError, match="ddof"):
        uniform_penalty_advantage(MIXED, GROUP, 1.0, ddof=3)


def test_rounding_above_zero_is_forgiven():
    lifted = torch.full((4, 2), 5e-5)
    assert lens(WRONG, GROUP, lifted, MASK).tolist() == near([0] * 4, 1e-12)  # four equal confidences of 1
    assert confidence(lifted, MASK).tolist() == [0, 0, 0, 0]


# ---------------------------------------------------------------- for any confidences


@st.composite
def batches(draw):
    """Ragged groups with arbitrary ids, verdicts, lengths and confidences, rows in any order."""
    ids = draw(st.lists(st.integers(-5, 10**6), min_size=1, max_size=4, unique=True))
    groups = draw(st.permutations([i for i in ids for _ in range(draw(st.integers(1, 6)))]))
    rows = len(groups)
    rewards = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=rows, max_size=rows))
    lengths = draw(st.lists(st.integers(1, 6), min_size=rows, max_size=rows))
    means = draw(st.lists(st.floats(-40, 0), min_size=rows, max_size=rows))
    mask = (torch.arange(7)[None] < torch.tensor(lengths)[:, None]).double()
    logprobs = torch.where(mask > 0, torch.tensor(means, dtype=torch.float64)[:, None], float("nan"))
    return torch.tensor(rewards, dtype=torch.float64), torch.tensor(groups), logprobs, mask


def kinds(rewards, groups):
    mean = torch.stack([rewards[groups == g].mean() for g in groups])
    return mean == 0, (mean > 0) & (mean < 1), mean == 1


def plain_loop(rewards, groups, logprobs, mask, variant, alpha=0.25):
    """The obvious loop, with probabilities instead of logarithms."""
    result = torch.zeros_like(rewards)
    for g in groups.unique():
        rows = groups == g
        r, size = rewards[rows], int(rows.sum())
        tokens = [p[m > 0].exp() for p, m in zip(logprobs[rows], mask[rows])]
        raw = torch.stack([t.prod() for t in tokens])
        pbar = torch.stack([t.prod() ** (1 / len(t)) for t in tokens])
        d = 2 * pbar.max()
        if 0 < r.sum() < size:
            inside = pbar if variant == "N" else raw
            d = torch.maximum(d, 1 / (r / inside).mean())
        shaped = r - (1 - r) / size * pbar / (d - pbar)
        if r.sum() == 0:
            result[rows] = alpha * (shaped - shaped.mean())
        elif r.sum() < size:
            result[rows] = (shaped - shaped.mean()) / (shaped.std() + 1e-6)
    return result


@given(batches(), st.sampled_from("NR"))
def test_ragged_groups_equal_a_plain_loop(batch, variant):
    assert torch.allclose(lens(*batch, variant=variant), plain_loop(*batch, variant), atol=1e-9)


@given(batches(), st.sampled_from("NR"), st.floats(2.0, 8.0))
def test_bounds(batch, variant, factor):
    rewards, groups, logprobs, mask = batch
    logs, raw = confidence(logprobs, mask), confidence(logprobs, mask, normalise=False)
    hard = difficulty(logs, rewards, groups, factor, raw if variant == "R" else None)
    odds = theory_odds(logs, hard)
    size = torch.stack([(groups == g).sum() for g in groups])
    assert (odds > 0).all() and (odds <= 1 + 1e-12).all()
    shaped = calibrated_rewards(rewards, logs, hard, groups)
    assert (shaped[rewards > 0] == 1).all()
    assert (shaped <= rewards).all() and (shaped >= rewards - 1 / size - 1e-12).all()
    assert torch.allclose(calibrated_rewards(rewards, logs, hard, groups, over_group=False),
                          theory_rewards(rewards, logs, hard))


@given(batches(), st.sampled_from("NR"), st.floats(2.0, 8.0))
def test_signs_follow_verdicts_in_mixed_groups_and_negative_groups_sum_to_zero(batch, variant, factor):
    rewards, groups = batch[:2]
    advantages = lens(*batch, variant=variant, factor=factor)
    negative, mixed, positive = kinds(rewards, groups)
    assert (advantages[mixed].sign() == 2 * rewards[mixed] - 1).all()
    assert (advantages[positive] == 0).all()
    for g in groups[negative].unique():
        own = advantages[groups == g]
        assert own.sum().item() == near(0, 1e-12) and own.abs().max() <= 0.25 / len(own) + 1e-12
    pushed = lens(*batch, variant=variant, factor=factor, demean=False)
    assert (pushed[negative] < 0).all()


@given(batches(), st.sampled_from("NR"))
def test_more_confidence_is_never_worth_more_in_a_uniform_group(batch, variant):
    rewards, groups, logprobs, mask = batch
    logs = confidence(logprobs, mask)
    advantages = lens(*batch, variant=variant, mirror=True)
    negative, _, positive = kinds(rewards, groups)
    for g in groups[negative | positive].unique():
        own = groups == g
        ordered = advantages[own][logs[own].argsort()]
        assert (ordered.diff() <= 1e-12).all()
        assert ordered.sum().item() == near(0, 1e-12)


@given(batches(), st.randoms())
def test_the_order_of_rows_does_not_matter(batch, random):
    order = torch.tensor(random.sample(range(len(batch[0])), len(batch[0])))
    moved = [part[order] for part in batch]
    for options in ({}, {"variant": "R", "mirror": True}, {"demean": False, "scramble": "flip"}):
        assert torch.allclose(lens(*moved, **options), lens(*batch, **options)[order], atol=1e-9)
    for rival in (ngrpo_advantage, lambda r, g: uniform_penalty_advantage(r, g, 0.3)):
        assert torch.allclose(rival(*moved[:2]), rival(*batch[:2])[order])


def test_advantages_are_constants_and_keep_the_rewards_precision():
    logprobs = LOGPROBS.clone().requires_grad_()
    assert not lens(MIXED, GROUP, logprobs, MASK).requires_grad
    assert not confidence(logprobs, MASK).requires_grad
    assert lens(MIXED.float(), GROUP, LOGPROBS.float(), MASK).dtype == torch.float32
    assert lens(MIXED.bool(), GROUP, LOGPROBS, MASK).dtype == torch.float32
    # Half-precision log-probabilities are summed in double: 10,000 tokens of -0.001 make -10.
    long = torch.full((1, 10_000), -0.001, dtype=torch.bfloat16)
    assert confidence(long, torch.ones(1, 10_000), normalise=False).item() == near(float(long[0, 0]) * 10_000, 0.05)


# ---------------------------------------------------------------- signs


def test_the_example_of_the_notes():
    # r~ near [1, -0, -1, -1]: the timid wrong answer sits above the mean of -1/4 unless odds are divided by G.
    logprobs = torch.tensor([[-9.0], [-9.0], [0.0], [0.0]], dtype=torch.float64)
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert lens(rewards, GROUP, logprobs, torch.ones(4, 1), over_group=False)[1] > 0
    assert lens(rewards, GROUP, logprobs, torch.ones(4, 1))[1] < 0


# ---------------------------------------------------------------- the methods


def calibrated(rollouts):
    """LENS with its defaults: standardised in mixed groups, a quarter of the distance from the mean in all-wrong ones."""
    right, length = rollouts.correct_N.int().tolist(), rollouts.mask_NT.sum(1).int().tolist()
    sure = [math.exp(sum(row[:n]) / n) for row, n in zip(rollouts.logprobs_NT.tolist(), length)]
    found = []
    for i in range(0, len(right), G):
        verdicts, p = right[i : i + G], sure[i : i + G]
        weights = [r / q for r, q in zip(verdicts, p)]
        estimate = G / sum(weights) if any(verdicts) else 0.0
        D = max(estimate, 2 * max(p))
        rewards = [1.0 if r else -q / (D - q) / G for r, q in zip(verdicts, p)]
        if any(verdicts):
            found += standardised(rewards)  # an all-right group is uniform: zero
        else:
            found += [0.25 * (x - sum(rewards) / G) for x in rewards]
    return found


def with_a_fictitious_right(groups):
    found = []
    for group in groups:
        larger = [*group, 1]
        mean = sum(larger) / (G + 1)
        std = math.sqrt(sum((r - mean) ** 2 for r in larger) / G)
        found += [(r - mean) / (std + 1e-6) for r in group]
    return found


FORMULAS = {
    "lens": lambda f: [a / n / f.N for a, n in zip(calibrated(f.rollouts), f.length)],
    "uniform_penalty": lambda f: [(a if m else -0.05) / n / f.N for a, m, n in zip(f.normalised, f.mean, f.length)],
    # All-right groups, whose advantages are zero, leave the denominator.
    "ngrpo": lambda f: [a / sum(n for n, m in zip(f.length, f.mean) if m < 1) for a in with_a_fictitious_right(f.groups)],
}


@pytest.mark.parametrize("name", METHODS)
def test_the_gradient_is_the_formula(name, policy, batch, gradient_of):
    assert differ(gradient_of(name, batch), gradient_by_hand(policy, batch, FORMULAS[name](counted(batch)))) < 1e-5


@pytest.mark.parametrize(("option", "value", "meant"), [("variant", "RN", "R"), ("scramble", "shufle", "shuffle")])
def test_misspelt_choices_are_refused_before_a_run_is_prepared(option, value, meant, configure, monkeypatch):
    monkeypatch.setattr("polarity_lib.run.starting_policy", lambda *a: pytest.fail("a base policy was made"))
    with pytest.raises(ConfigError, match=f"Did you mean .*'{meant}'"):
        prepare(configure("lens", options=((option, value),)), "cpu")


@pytest.mark.parametrize(("name", "options"), [
    ("lens", {"alpha": -1.0}), ("lens", {"factor": 1.0}), ("uniform_penalty", {"penalty": -0.1}),
])  # fmt: skip
def test_numbers_that_cannot_be_are_refused_before_any_update(name, options, batch):
    with pytest.raises(ValueError, match="alpha|factor|penalty"):
        method_named(name, options).advantage(batch, batch.correct_N.float(), Progress(0, 10))
