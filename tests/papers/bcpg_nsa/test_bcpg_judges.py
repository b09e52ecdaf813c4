"""Steps and judges: traces whose every label a reader can check."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2Config, Qwen2ForTokenClassification

from polarity_lib.config import ConfigError
from polarity_lib.papers.bcpg_nsa.judges import (
    LLM_LIKE, PRM_LIKE, LanguageJudge, RewardJudge, Simulated, arithmetic, checked_equations, consensus, either, generator,
    graded, judge_prompt, oracle, precision, product, read_scores, said, step_labels, step_rewards, value_of,
)
from polarity_lib.papers.bcpg_nsa.mining import mined_arithmetic
from polarity_lib.papers.bcpg_nsa.segmentation import line_steps, semantic_steps, spans, text_steps
from polarity_lib.verification import label_steps, place_steps

QUESTION = "3+5-2+4:"
WRONG_THEN_FOLLOWS = "3+5=8;8-2=5;5+4=9#9"
REPAIRED = "3+5=7?3+5=8;8-2=6;6+4=11#11"


# ---------------------------------------------------------------- segmentation


def test_steps_by_hand():
    assert line_steps("3+5=8?3+5=8;8-2=6#6") == ("3+5=8", "?3+5=8;", "8-2=6", "#6")
    assert line_steps("#17") == ("#17",) and line_steps("") == () and line_steps("3+5=8") == ("3+5=8",)
    assert spans(("3+5=8;", "#8")) == [(0, 6), (6, 8)]


@given(st.text("0123456789+-=;?#", max_size=60))
def test_steps_join_to_the_answer_whatever_it_is(text):
    steps = line_steps(text)
    assert "".join(steps) == text and all(steps)
    assert len(step_labels("3+5-2:", steps)) == len(steps)


@given(st.text("0123456789+-=;?#", max_size=60))
def test_places_and_labels_of_the_core_agree(text):
    placed = place_steps(QUESTION, text)
    assert [(text[a:b], label) for a, b, label in placed] == label_steps(QUESTION, text)
    assert all(b > a for a, b, _ in placed) and [a for a, _, _ in placed] == sorted(a for a, _, _ in placed)


def test_a_splitter_may_not_alter_the_text():
    assert semantic_steps("One. Two.", lambda text: ["One. ", "Two."]) == ("One. ", "Two.")
    with pytest.raises(ConfigError, match="altered the text"):
        semantic_steps("One. Two.", lambda text: ["One.", "Two."])


def test_real_texts_are_cut_by_rules():
    text = "First we add the two numbers together.\n\nWait, that was not what the question asked for at all."
    assert len(text_steps(text)) == 2 and "".join(text_steps(text)) == text


# ---------------------------------------------------------------- the oracle


def test_labels_by_hand():
    steps = line_steps(WRONG_THEN_FOLLOWS)
    assert step_labels(QUESTION, steps) == ("right", "wrong", "follows", "final")
    assert oracle(QUESTION, steps, "10") == [1, 0, 0, 0]
    steps = line_steps(REPAIRED)
    assert step_labels(QUESTION, steps) == ("wrong", "repaired", "right", "wrong", "final")
    assert oracle(QUESTION, steps, "10") == [0, 1, 1, 0, 0]


def test_an_answer_without_its_final_mark_has_the_labels_of_its_lines():
    steps = line_steps("3+5=8;8-2=6;6+")
    assert step_labels(QUESTION, steps) == ("right", "right", "wrong")
    assert oracle(QUESTION, steps, "10") == [1, 1, 0]
    assert step_labels(QUESTION, line_steps("3+5=7?3+5=8;8-2=6;6+4=10")) == ("wrong", "repaired", "right", "right")


def test_the_final_answer_is_right_only_if_it_is_the_reference():
    assert oracle("3+5:", ("3+5=8", "#8"), "8") == [1, 1]
    assert oracle("3+5:", ("3+5=8", "#8")) == [1, 0]


# ---------------------------------------------------------------- simulated judges


def test_graded_scores_pass_one_half_as_often_as_they_should():
    assert graded(0.5, 0.5) == 0.5
    assert graded(0.8, 0.2) == pytest.approx(0.5) and graded(0.8, 0.3) > 0.5 > graded(0.8, 0.1)  # u above 1 - rate
    assert graded(0.0, 0.7) == 0.0 and graded(1.0, 0.3) == 1.0 and graded(1.0, 0.0) == 1.0


def test_precision_by_hand():
    assert precision(0.9, 0.3, 1 / 3) == pytest.approx(0.3 / (0.3 + 0.2))
    assert precision(0.8, 0.0, 0.3) == 1 and math.isnan(precision(0.0, 0.0, 0.3))


def many(judge, count=3000):
    """Said on right and on wrong steps of many answers: two rates."""
    rights, wrongs = [], []
    for i in range(count):
        scores = said(judge)(f"{i % 50}+5-2+4:", (f"{i % 50}+5={i % 50 + 5};", f"{i % 50 + 5}-2={i};", f"#{i + 60}"))
        rights.append(scores[0]), wrongs.append(scores[2])
    return np.mean(rights), np.mean(wrongs)


def test_a_simulated_judge_has_the_rates_it_was_given():
    recall, false_alarm = many(LLM_LIKE)
    assert recall == pytest.approx(0.9, abs=0.02) and false_alarm == pytest.approx(0.3, abs=0.03)


def test_two_judges_err_independently_or_together():
    both_recall, both_false = many(consensus(LLM_LIKE, PRM_LIKE))
    assert both_recall == pytest.approx(0.9 * 0.65, abs=0.03) and both_false == pytest.approx(0.3 * 0.2, abs=0.02)
    any_recall, _ = many(either(LLM_LIKE, PRM_LIKE))
    assert any_recall == pytest.approx(1 - 0.1 * 0.35, abs=0.02)
    one, two = (Simulated(0.6, 0.2, name, shared=1.0) for name in ("one", "two"))
    assert many(one) == many(two) == many(consensus(one, two))  # one cause: agreeing filters nothing


def test_a_judge_says_the_same_of_the_same_answer():
    steps = line_steps(WRONG_THEN_FOLLOWS)
    assert LLM_LIKE(QUESTION, steps) == LLM_LIKE(QUESTION, steps)
    assert LLM_LIKE(QUESTION, steps) != Simulated(0.9, 0.3, "another")(QUESTION, steps)


def test_the_product_is_soft():
    scores = product(lambda q, s, r: [0.5, 0.9], lambda q, s, r: [0.5, math.nan])(QUESTION, ("a", "b"))
    assert scores == [0.25, 0.0]


def test_rates_outside_zero_and_one_are_refused():
    with pytest.raises(ConfigError, match="recall must be between 0 and 1"):
        Simulated(1.1, 0.0)


# ---------------------------------------------------------------- real text


@pytest.mark.parametrize(("text", "holds"), [
    ("so 3 + 5 = 8.", [True]), ("12*12 = 144 and 7*8=54", [True, False]), ("$2 \\times 3 = 6$", [True]),
    ("1/3 = 0.33", [True]), ("1/3 = 0.34", [False]), ("x + 2 = 5", []), ("f(2) = 3", []), ("2x = 3*2 = 6", [True]),
    ("(1+2)*3 = 9", [True]), ("5/0 = 1", []), ("no numbers", []), ("2^3 = 8", []), ("3 - 5 = -2", [True]),
])
def test_equations_are_computed(text, holds):
    assert checked_equations(text) == holds


def test_arithmetic_cannot_tell_where_nothing_is_computed():
    scores = arithmetic("", ["2+2=4, 2+3=6", "2+2=4", "Let x be even."])
    assert scores[:2] == [0.0, 1.0] and math.isnan(scores[2])
    assert said(arithmetic)("", ["Let x be even."]) == [0.0]


@given(st.text(max_size=60))
def test_no_text_is_executed_or_breaks_the_reader(text):
    assert all(isinstance(v, bool) for v in checked_equations(text))
    try:
        assert isinstance(value_of(text), float)
    except ValueError as error:
        assert "no arithmetic" in str(error)


def test_what_arithmetic_mines_by_hand():
    """Two wrong responses, one right one; the null label is left out. A slip stands in the first."""
    def step(text):
        return text + " and that is what we wanted to know.\n\n"

    rows = [(step("So 2+2=4 holds") + step("So 2+2=5 holds"), False), (step("Let x be even, whatever it costs"), False),
            (step("So 3*4=12 holds"), True), ("nothing", None)]
    found = mined_arithmetic(pd.DataFrame(rows, columns=["response", "label"]))
    assert found.loc["wrong answers", ["responses", "steps"]].tolist() == [2, 3]
    assert found.loc["wrong answers", ["checkable", "sound", "no slip"]].tolist() == pytest.approx([2 / 3, 1 / 2, 0])
    assert found.loc["right answers", ["responses", "checkable", "sound", "mined", "no slip"]].tolist() == [1, 1, 1, 1, 1]


# ---------------------------------------------------------------- models


def test_a_language_model_is_asked_once_with_both_context_rules():
    asked = []

    def generate(prompts):
        asked.extend(prompts)
        return ['Here: [{"step": 1, "score": 1, "reason": "fine"}, {"step": 2, "score": 0, "reason": "slip"}]']

    scores = LanguageJudge(generate)("3+5-2:", ("3+5=8;", "8-2=5", "#5"), "6")
    assert scores[:2] == [1.0, 0.0] and math.isnan(scores[2])
    (prompt,) = asked
    assert "Propagation" in prompt and "Termination" in prompt and "[2] 8-2=5" in prompt and "reference answer is 6" in prompt
    assert "reference answer" not in judge_prompt("q", ("s",))


@pytest.mark.parametrize("reply", ["", "no list", "[1, 2]", "[{]", '[{"step": 9, "score": 1}]', '[{"step": 1, "score": 7}]',
                                   '[{"step": "1", "score": 1}]', json.dumps([{"score": 1}]), "[" * 100_000 + "]"])
def test_a_reply_that_says_nothing_usable_is_no_label(reply):
    assert all(math.isnan(s) for s in read_scores(reply, 2))


def test_a_reward_models_threshold_becomes_one_half():
    judge = RewardJudge(lambda q, s: [0.0, 0.4, 0.8, 0.9, 1.0], threshold=0.8)
    assert judge("q", "abcde") == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    assert said(judge)("q", "abcde") == [0, 0, 1, 1, 1]


def _characters(text, add_special_tokens=False):
    return {"input_ids": [ord(c) % 64 for c in text]}


def test_a_process_reward_model_is_read_where_its_separators_stand():
    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                         num_key_value_heads=1, num_labels=2)
    model = Qwen2ForTokenClassification(config).eval()
    reward = step_rewards(model, _characters, "|")
    ids = torch.tensor([_characters("3+5-2:3+5=8;|8-2=6|")["input_ids"]])
    with torch.no_grad():
        by_hand = model(input_ids=ids).logits[0].softmax(-1)[[12, 18], 1].tolist()
    assert reward("3+5-2:", ("3+5=8;", "8-2=6")) == pytest.approx(by_hand)
    assert reward("3+5-2:", ("3+5=8;",)) == pytest.approx(by_hand[:1])  # it saw nothing of what came later
    judge = RewardJudge(reward, threshold=min(by_hand) + 1e-6)
    assert sorted(said(judge)("3+5-2:", ("3+5=8;", "8-2=6"))) == [0, 1]
    with pytest.raises(ConfigError, match="2 tokens of this tokenizer"):
        step_rewards(model, _characters, "||")


def test_an_unknown_engine_is_refused():
    with pytest.raises(ConfigError, match="Unknown engine 'vlm'"):
        generator("model", "vlm")
