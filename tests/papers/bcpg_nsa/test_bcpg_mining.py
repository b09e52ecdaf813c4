"""Labels laid over tokens, and weights: an answer of each kind, by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.config import ConfigError
from polarity_lib.papers.bcpg_nsa.credit import (
    error_places, first_error, from_first_error, nthr_scores, nthr_weights, prefix_only, spread_values, step_advantages,
    values_of, wrong_prefixes,
)
from polarity_lib.papers.bcpg_nsa.judges import oracle, product
from polarity_lib.papers.bcpg_nsa.mining import (
    answer_labels, anywhere_labels, bad_labels, before_first_error, contents, judge_quality, judged_tokens, nsa_weights,
    random_labels, recentred, row_shares, uniform_labels,
)
from polarity_lib.papers.bcpg_nsa.rewriting import garbled, plausible, rewritten
from polarity_lib.policy import build_tokenizer
from polarity_lib.problems import Problem
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import verify

PROBLEM = Problem("chain", "3+5-2:", "6", "chain:-2,3,5", 2)
TEXTS = ["3+5=8;8-2=6#6", "3+5=8;8-2=5#5", "#9", "3+5=7?3+5=8;8-2=5#5"]
TOKENIZER = build_tokenizer()


def encode(text):
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def written(texts=TEXTS, problem=PROBLEM):
    """Finished answers to one question, judged."""
    ids = [[*encode(text), TOKENIZER.eos_token_id] for text in texts]
    longest, n = max(map(len, ids)), len(texts)
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
    mask = (torch.arange(longest)[None] < torch.tensor([[len(row)] for row in ids])).float()
    finished = torch.ones(n, dtype=torch.bool)
    return Rollouts([problem] * n, torch.zeros(n, dtype=torch.long), [encode(problem.prompt)] * n, tokens, mask, -mask, mask,
                    finished, list(texts), verify([problem] * n, list(texts), finished.tolist()), n, 96)


def marked(values_T, text):
    """The characters on which a row of zeros and ones stands."""
    return "".join(ch for ch, v in zip(text, values_T.tolist()) if v)


def test_labels_stand_on_the_characters_of_right_steps_of_wrong_answers():
    good = judged_tokens(written())
    assert [marked(row, text) for row, text in zip(good, TEXTS)] == ["", "3+5=8;", "", "?3+5=8;"]
    assert good[:, -1].sum() == 0  # no end of text, no padding
    clean = before_first_error(good, written().mask_NT)
    assert [marked(row, text) for row, text in zip(clean, TEXTS)] == ["", "3+5=8;", "", ""]


def test_weights_by_hand():
    good, right = torch.tensor([[0.0, 0.0], [1.0, 0.4]]), torch.tensor([True, False])
    assert nsa_weights(good, right, 0.5).tolist() == [[1, 1], [0.5, pytest.approx(0.8)]]
    assert nsa_weights(good, right, 1.0).tolist() == [[1, 1], [1, 1]]
    assert nsa_weights(good, right, -1.0).tolist() == [[1, 1], [-1, pytest.approx(0.2)]]
    with pytest.raises(ValueError, match="beta"):
        nsa_weights(good, right, 1.5)
    with pytest.raises(ValueError, match="score"):
        nsa_weights(2 * good, right, 0.5)


def test_the_uniform_control_of_the_card():
    """beta 0.5 on 22 % of the tokens of a wrong answer is one weight of 0.89."""
    good, mask = torch.zeros(1, 100), torch.ones(1, 100)
    good[0, :22] = 1
    weights = nsa_weights(uniform_labels(good, mask, torch.tensor([False])), torch.tensor([False]), 0.5)
    assert weights.unique().tolist() == [pytest.approx(0.89)]


def test_controls_are_as_heavy_as_the_labels():
    rollouts = written()
    good, mask, right = judged_tokens(rollouts), rollouts.mask_NT, rollouts.correct_N
    mean = lambda labels: (labels * mask).sum(1) / mask.sum(1)  # noqa: E731
    assert torch.allclose(mean(answer_labels(good, mask, right)), mean(good))
    assert mean(uniform_labels(good, mask, right))[~right].mean() == pytest.approx(float(mean(good)[~right].mean()))
    assert torch.equal(random_labels(good, mask, right, 0).sum(1), good.sum(1))
    assert anywhere_labels(good, mask, right, 0).sum() == good.sum()
    for labels in (answer_labels(good, mask, right), uniform_labels(good, mask, right), random_labels(good, mask, right, 0),
                   anywhere_labels(good, mask, right, 0), bad_labels(good, mask, right)):  # fmt: skip
        assert labels[right].sum() == 0 and (labels * (1 - mask)).sum() == 0
    assert torch.equal(bad_labels(good, mask, right) + good, mask * ~right[:, None])


@given(st.integers(0, 999))
def test_random_controls_move_with_their_seed_alone(seed):
    rollouts = written()
    good, mask, right = judged_tokens(rollouts), rollouts.mask_NT, rollouts.correct_N
    for control in (random_labels, anywhere_labels):
        assert torch.equal(control(good, mask, right, seed), control(good, mask, right, seed))
        assert set(control(good, mask, right, seed).unique().tolist()) <= {0.0, 1.0}


def test_recentred_groups_push_nowhere_on_the_whole():
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    again = recentred(torch.tensor([[0.5, 0.5], [-0.25, 0.0]]), mask, torch.tensor([0, 0]))
    assert again.tolist() == [[0.375, 0.375], [-0.375, 0.0]]  # the level was (0.5 - 0.25) / 2


def test_another_tokenizer_is_refused():
    rollouts = written()
    with pytest.raises(ConfigError, match="one token per character"):
        judged_tokens(rollouts.but(texts=[text + "0" for text in rollouts.texts]))


def test_an_answer_with_a_special_token_inside_has_no_steps_and_errs_as_a_whole():
    rollouts = written()
    rollouts = rollouts.but(texts=[*TEXTS[:1], "3+5=8;<pad>8-2=5#5", *TEXTS[2:]])  # one token, spelt in five characters
    assert judged_tokens(rollouts)[1].sum() == 0
    assert error_places(rollouts)[1, :14].unique().tolist() == [1.0] and ("", "") not in wrong_prefixes(rollouts)
    before, after = spread_values(rollouts, {k: 0.5 for k in wrong_prefixes(rollouts)})
    assert before[1, 0] == 0.25 and after[1].sum() == 0


def test_tables_of_what_wrong_answers_hold():
    steps = contents(written())
    assert steps[steps.row == 3].label.tolist() == ["wrong", "repaired", "wrong", "final"]
    assert steps.groupby("way").row.nunique().to_dict() == {"checked": 1, "direct": 1, "worked": 1}
    assert steps.tokens.sum() == sum(map(len, TEXTS[1:]))
    judges = {"oracle": oracle, "nothing": lambda q, s, r: [0.0] * len(s), "soft": product(oracle, oracle)}
    quality = judge_quality(written(), judges)
    assert (quality.loc[["oracle", "soft"], ["precision", "recall"]] == 1).all().all()
    assert quality.loc["nothing", ["called right", "recall"]].tolist() == [0, 0]
    shares = row_shares(written())
    assert shares[:2].tolist() == [1.0, 0.5] and shares[2].isnan() and shares[3] == pytest.approx(1 / 3)


# ---------------------------------------------------------------- where the error is


def test_blame_by_the_true_labels():
    rollouts = written()
    places, right = error_places(rollouts), rollouts.correct_N
    assert [marked(row == 1, text) for row, text in zip(places, TEXTS)] == ["", "8-2=5", "#9", "3+5=7"]
    assert marked(places[1] == 2, TEXTS[1]) == "#5" and places[1, len(TEXTS[1])] == 2  # the end of text lies behind it
    for rule, wanted in ((first_error, "8-2=5"), (from_first_error, "8-2=5#5"), (prefix_only, "3+5=8;")):
        weights = rule(places, right)
        assert marked(weights[1], TEXTS[1]) == wanted and weights[0].unique().tolist() == [1.0]


def cut_off(rollouts):
    """The same answers, none of which came to its end of text."""
    ends = rollouts.mask_NT.cumsum(1) == rollouts.mask_NT.sum(1, keepdim=True)
    mask, unfinished = rollouts.mask_NT * ~ends, torch.zeros_like(rollouts.finished_N)
    return rollouts.but(mask_NT=mask, finished_N=unfinished,
                        verdicts=verify(rollouts.problems, rollouts.texts, unfinished.tolist()))


def test_blame_where_the_final_answer_is_missing():
    """The line that was not finished; else the end of text that stands in its place; else the step behind which it was cut."""
    texts = ["3+5=8;8-", "3+5=8;8-2=6", "3+5=8;8-2=6;", "3+5=9;9-2=7", ""]
    for rollouts, wanted in ((written(texts), ["8-", "", "", "3+5=9;", ""]),
                             (cut_off(written(texts)), ["8-", "8-2=6", "8-2=6;", "3+5=9;", ""])):
        places = error_places(rollouts)
        assert [marked(row == 1, text) for row, text in zip(places, texts)] == wanted
        assert torch.equal(places > 0, (places > 0) & (rollouts.mask_NT > 0))
    ended = error_places(written(texts))
    assert [row[len(text)].item() for row, text in zip(ended, texts)] == [2, 1, 1, 2, 1]  # the end of text
    good = judged_tokens(written(texts))
    assert [marked(row, text) for row, text in zip(good, texts)] == ["3+5=8;", "3+5=8;8-2=6", "3+5=8;8-2=6;", "", ""]


class Sampler:
    """Goes on behind any prefix with the same texts."""

    def __init__(self, texts):
        self.texts, self.asked = texts, []

    def sample(self, problems, count, seed):
        self.asked += [p.prompt for p in problems]
        rollouts = written([self.texts[i % len(self.texts)] for i in range(len(problems) * count)])
        return rollouts


def test_values_are_shares_of_right_continuations():
    rollouts = written()
    prefixes = wrong_prefixes(rollouts)
    assert [prefix for _, prefix in prefixes] == ["3+5=8;", "3+5=8;8-2=5", "3+5=7", "3+5=7?3+5=8;", "3+5=7?3+5=8;8-2=5"]
    sampler = Sampler(["8-2=6#6", "#5"])
    values = values_of(sampler, prefixes, 2, "values")
    assert list(values.values()) == [0.5] * 5 and sampler.asked[0] == "3+5-2:3+5=8;"
    assert values_of(sampler, {}, 2, "values") == {}


def test_step_advantages_add_up_to_grpos():
    rollouts = written()
    values = {(PROBLEM.key, p): v for p, v in zip(("3+5=8;", "3+5=8;8-2=5", "3+5=7", "3+5=7?3+5=8;", "3+5=7?3+5=8;8-2=5"),
                                                   (0.8, 0.0, 0.1, 0.7, 0.0))}  # fmt: skip
    before, after = spread_values(rollouts, values)
    rewards = rollouts.correct_N.double()
    advantages = step_advantages(before, after, rewards, rollouts.group_N, rollouts.mask_NT, epsilon=0.0)
    # Rewards (1, 0, 0, 0): mean 1/4, deviation 1/2. Row 1: 0.25 -> 0.8 -> 0 -> 0.
    assert advantages[0, 0].item() == pytest.approx(1.5)
    firsts = [advantages[1, at].item() for at in (0, 6, 11)]
    assert firsts == pytest.approx([1.1, -1.6, 0.0]) and sum(firsts) == pytest.approx(-0.5)  # GRPO's of a wrong answer
    assert advantages[2, 0].item() == pytest.approx(-0.5)  # a bare answer is one step
    assert advantages[1, len(TEXTS[1])] == advantages[1, 11] and advantages[1, -1] == 0


def test_nthr_by_hand():
    """Two tokens, two answers of one token; hidden states along one axis.

    The right one is token 0 at pi = (0.5, 0.5), g = (0.5, -0.5); the wrong one token 0 at the same pi and h: the score is
    <g, g><h, h> = 0.5, as high as the right one's own, so not above it. With twice the h it is 1, and spared.
    """
    logs = torch.log(torch.full((2, 1, 2), 0.5))
    tokens, mask, right = torch.zeros(2, 1, dtype=torch.long), torch.ones(2, 1), torch.tensor([True, False])
    same, twice = torch.ones(2, 1, 1), torch.tensor([[[1.0]], [[2.0]]])
    scores, means = nthr_scores(same, logs, tokens, mask, right)
    assert scores.tolist() == [[0.5], [0.5]] and means.tolist() == [0.5]
    group = torch.zeros(2, dtype=torch.long)
    assert nthr_weights(same, logs, tokens, mask, right, group).tolist() == [[1], [1]]
    assert nthr_weights(twice, logs, tokens, mask, right, group).tolist() == [[1], [0]]
    assert nthr_weights(twice, logs, tokens, mask, right, group, eta=0.3).tolist() == [[1], [pytest.approx(0.3)]]
    assert nthr_weights(twice, logs, tokens, mask, right, group, eta=None).tolist() == [[1], [0]]  # p = 1/2
    other = torch.tensor([[0], [1]])  # the wrong answer's token is the other one: punishing it helps the right one
    assert nthr_scores(twice, logs, other, mask, right)[0].tolist() == [[0.5], [-1.0]]
    assert nthr_weights(twice, logs, tokens, mask, torch.tensor([False, False]), group).tolist() == [[1], [1]]


def test_nthr_scores_equal_the_double_sum():
    torch.manual_seed(0)
    hidden, logs = torch.randn(3, 4, 5), torch.randn(3, 4, 6).log_softmax(-1)
    tokens, right = torch.randint(6, (3, 4)), torch.tensor([True, False, True])
    mask = (torch.arange(4) < torch.tensor([[4], [3], [2]])).float()
    scores, means = nthr_scores(hidden, logs, tokens, mask, right)
    errors = torch.eye(6)[tokens] - logs.exp()

    def by_hand(j, k):
        return sum(float(errors[i, t] @ errors[j, k] * (hidden[i, t] @ hidden[j, k]))
                   for i in (0, 2) for t in range(4) if mask[i, t])

    assert scores[1, :3].tolist() == pytest.approx([by_hand(1, k) for k in range(3)], rel=1e-4)
    assert means.tolist() == pytest.approx([sum(by_hand(i, k) for k in range(n)) / n for i, n in ((0, 4), (2, 2))], rel=1e-4)


# ---------------------------------------------------------------- wrong answers on purpose


@given(st.integers(0, 2000))
def test_plausible_answers_have_one_slip_and_are_wrong(seed):
    text = plausible("9+5-2+4:", np.random.default_rng(seed))
    labels = contents(written([text], Problem("chain", "9+5-2+4:", "16", "k", 3))).label.tolist()
    assert labels.count("wrong") == 1 and set(labels) <= {"right", "wrong", "follows", "final"}
    assert labels.index("wrong") == len([x for x in labels if x == "right"])  # right before the slip, following it after


@given(st.sampled_from(TEXTS), st.integers(0, 99))
def test_garbled_answers_keep_their_characters(text, seed):
    assert sorted(garbled(text, np.random.default_rng(seed))) == sorted(text)


@pytest.mark.parametrize("kind", ["plausible", "near", "garbled"])
def test_as_many_wrong_answers_as_before(kind):
    before = written()
    after = rewritten(before, kind, encode, "seed")
    assert after.correct_N.tolist() == before.correct_N.tolist() and after.texts[0] == before.texts[0]
    for row, text in enumerate(after.texts):
        n = int(after.mask_NT[row].sum())
        assert after.tokens_NT[row, :n].tolist() == [*encode(text), TOKENIZER.eos_token_id]
    if kind == "near":
        assert after.texts[1:] == [TEXTS[1]] * 3  # one right step; the first of those with as many
    judged_tokens(after)  # tokens and characters still agree
    assert rewritten(before, "own", encode, "seed") is before
