"""Verdicts on real mathematics: the awkward table, recorded responses, hostile texts, properties.

One verifier with short limits serves most tests, so that its process starts once.
"""

import csv
import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polarity_lib.verification import LABELS, Verdict, verify_math
from polarity_lib.verification.mathematics import MathVerifier

AWKWARD = Path(__file__).parent / "data" / "awkward_answers.csv"
DATA = os.environ.get("POLARITY_TEST_DATA", "")
needs_data = pytest.mark.skipif(
    not DATA or not (Path(DATA) / "responses.jsonl").is_file(),
    reason="POLARITY_TEST_DATA names no folder with responses.jsonl (the texts may not be committed)",
)

# Recorded rows whose label we do not follow, one reason each; docs/verification.md tells them apart at length.
LABEL_IS_WRONG = {
    "resp/0025", "resp/0744", "resp/0819", "resp/0837", "resp/0947",  # the time of day, written with other blanks
    "resp/0161", "resp/0670",  # the right formula in a box; the grader took a word behind it
    "resp/0258", "resp/0540",  # the right formula with a name before it
    "resp/0188", "resp/0447", "resp/0989",  # the right values in another order
    "resp/0511", "resp/0560", "resp/0883", "resp/0992",  # Unicode root; unit; separator; factor of a power of ten
    "resp/0439",  # labelled right, but two of its four values are not in the gold
}  # fmt: skip
NO_FINAL_ANSWER = {"resp/0250", "resp/0337", "resp/0645"}  # labelled right by a number found in a cut-off text
ANSWERED_ANOTHER_QUESTION_LAST = {"resp/0502"}


@pytest.fixture(scope="module")
def verifier():
    with MathVerifier(timeout_s=2.0, workers=1) as shared:
        yield shared


def boxed(answer):
    return f"So it is $\\boxed{{{answer}}}$."


def label(verifier, gold, response, **options):
    return verifier.verify([gold], [response], **options)[0].label


def awkward_rows():
    with AWKWARD.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ------------------------------------------------------------------ tables


def test_every_awkward_answer_gets_its_label_and_none_is_accepted_wrongly(verifier):
    rows = awkward_rows()
    verdicts = verifier.verify(
        [row["gold"] for row in rows],
        [row["response"] for row in rows],
        truncated=[row["truncated"] == "true" for row in rows],
    )
    differing = [
        (row["kind"], row["gold"], row["response"][:60], row["label"], verdict.label)
        for row, verdict in zip(rows, verdicts)
        if row["label"] != verdict.label
    ]
    assert [row for row in differing if row[-1] == "correct"] == []
    assert len(differing) <= 0.02 * len(rows), differing


def test_the_awkward_table_is_broad_and_gives_its_reasons():
    rows = awkward_rows()
    assert len(rows) >= 300
    assert all(row["reason"] and row["kind"] and row["label"] in LABELS for row in rows)
    kinds = Counter(row["kind"] for row in rows)
    assert len(kinds) >= 25 and min(kinds.values()) >= 6
    assert set(Counter(row["label"] for row in rows)) == set(LABELS)


@needs_data
def test_recorded_responses_agree_with_their_labels_or_are_explained(verifier):
    rows = [json.loads(line) for line in (Path(DATA) / "responses.jsonl").read_text(encoding="utf-8").splitlines()]
    verdicts = verifier.verify([row["gold"] for row in rows], [row["response"] for row in rows])
    labelled = [
        (row["id"], row["label"], verdict.is_correct)
        for row, verdict in zip(rows, verdicts)
        if row["label"] is not None
    ]
    differing = {name for name, theirs, ours in labelled if theirs != ours}
    assert differing == LABEL_IS_WRONG | NO_FINAL_ANSWER | ANSWERED_ANOTHER_QUESTION_LAST
    false_accepts = {name for name, theirs, ours in labelled if ours and not theirs} - LABEL_IS_WRONG
    assert false_accepts == set()
    assert len(labelled) == 912 and len(differing - LABEL_IS_WRONG) <= 0.02 * len(labelled)
    assert not [verdict for verdict in verdicts if verdict.label == "timed_out"]


# ------------------------------------------------------------------ the interface


def test_one_call_with_the_public_function():
    verdicts = verify_math(["\\frac{1}{2}", "5"], ["It is \\boxed{0.5}.", "It is \\boxed{6}."])
    assert [v.label for v in verdicts] == ["correct", "wrong"]
    assert verdicts[0].answer == "0.5" and verdicts[0].gold == "\\frac{1}{2}" and "box" in verdicts[0].reason


def test_order_is_kept_and_duplicates_are_judged_once(verifier, monkeypatch):
    asked = []
    run = verifier.pool.run
    monkeypatch.setattr(verifier.pool, "run", lambda tasks: asked.extend(tasks) or run(tasks))
    golds = ["(y+1)^2", "7", "(y+1)^2"] * 10
    responses = [boxed("y^2+2y+1"), boxed("7"), boxed("y^2")] * 10
    assert [v.label for v in verifier.verify(golds, responses)] == ["correct", "correct", "wrong"] * 10
    assert len(asked) == 2
    verifier.verify(golds, responses)
    assert len(asked) == 2, "settled pairs are remembered between batches"


def test_the_same_texts_get_the_same_verdicts_from_a_new_process():
    cases = (["x^2-1", "2", "\\sqrt{8}"], [boxed("(x-1)(x+1)"), boxed("3"), boxed("2\\sqrt{2}")])
    with MathVerifier(workers=1) as one, MathVerifier(workers=2) as two:
        assert one.verify(*cases) == two.verify(*cases)


def test_easy_answers_start_no_process():
    with MathVerifier() as fresh:
        assert label(fresh, "5", boxed("5.0")) == "correct"
        assert fresh.pool.workers == []


def test_numbers_and_none_are_taken_as_text(verifier):
    assert label(verifier, 5, boxed("5")) == "correct"
    assert label(verifier, 0.5, boxed("\\frac{1}{2}")) == "correct"
    assert label(verifier, "5", None) == "no_answer"
    assert label(verifier, None, boxed("5")) == "wrong"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"timeout_s": 0}, "timeout_s must be above zero"),
        ({"memory_mb": 100}, "at least 512"),
        ({"workers": 0}, "workers must be at least 1"),
    ],
)
def test_limits_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MathVerifier(**arguments)


def test_lengths_must_agree(verifier):
    with pytest.raises(ValueError, match="lengths differ: 1 golds, 2 responses"):
        verifier.verify(["5"], ["5", "6"])
    with pytest.raises(ValueError, match="wrap a single text"):
        verifier.verify("5", "5")
    assert verifier.verify([], []) == []


def test_the_gold_is_shown_as_it_was_understood(verifier):
    verdict = verifier.verify(["10,\\!080"], [boxed("10081")])[0]
    assert verdict == Verdict(
        "wrong", "10081", "10,080", "the last box: does not equal the gold answer, compared as written"
    )


# ------------------------------------------------------------------ hostile texts

HOSTILE = {
    "power tower": boxed("9^{9^{9^{9^9}}}"),
    "tower of symbols": boxed("x^{x^{x^{x^{x^{x^{x}}}}}}"),
    "factorial of a factorial": boxed("((9!)!)!"),
    "double factorial": boxed("99999!!!"),
    "huge exponent": boxed("1e99999999999"),
    "huge binomial": boxed("\\binom{10^{9}}{10^8}"),
    "endless sum": boxed("\\sum_{n=1}^{10^{12}} \\frac{1}{n+\\sin n}"),
    "large expansion": boxed("(a+b+c+d+e+f)^{5000}-1"),
    "ten thousand digits": boxed("9" * 10_000),
    "too long a number by its unit": boxed("10^{4000} " + "quadrillion " * 21),
    "sides that begin far behind the point": boxed("=".join(["1.1e-3999"] * 190)),
    "a million digits": boxed("1" * 1_000_000),
    "a megabyte of sum": boxed("a+" * 500_000 + "a"),
    "open brackets": "(" * 1_000_000,
    "deep nesting": boxed("(" * 900 + "1" + ")" * 900),
    "deep roots": boxed("\\sqrt{" * 28 + "x" + "}" * 28),
    "a chain of powers": boxed("5" + "^2" * 900 + "x"),
    "subscripts": boxed("5_{" * 30 + "5" + "}" * 30),
    "open boxes": "\\boxed{" * 100_000,
    "empty boxes": "\\boxed{}" * 100_000,
    "boxes in boxes": "\\boxed{" * 1_500 + "}" * 1_500,
    "open thoughts": "<think>" * 100_000,
    "open comments": "<!--" * 100_000 + "5",
    "open phantoms": "\\phantom{" * 100_000,
    "statements": "the answer is " * 70_000,
    "headings": "**Answer:** " * 50_000,
    "corrections": "\\boxed{4}" + "correct answer is " * 50_000,
    "dollars": "$" * 300_000,
    "new lines": "x" + "\n" * 300_000 + "y",
    "many units": boxed("5" + "^2  " * 400 + "@"),
    "many texts": boxed("5" + "\\text{a} " * 200 + "@"),
    "many degrees": boxed("5" + "°" * 1_500 + "@"),
    "code": boxed("__import__('os').system('touch {marker}')"),
    "code in prose": "__import__('os').system('touch {marker}')",
    "class tricks": boxed("().__class__.__base__.__subclasses__()"),
    "a lambda": boxed("(lambda: open('{marker}','w'))()"),
    "shell escape": boxed("\\write18{touch {marker}}"),
    "null bytes": "\x00" * 1_000 + "\\boxed{\x00}",
    "lone surrogates": "\ud800\\boxed{\udfff}",
    "direction marks": boxed("\u202e" * 500 + "6"),
    "combining marks": boxed("6" + "\u0301" * 1_500),
    "unbalanced": boxed("}{}{\\}"),
    "zero-width characters": boxed("6" + "\u200b\u200d\u2060\ufeff" * 500),
    "isolates and overrides": boxed("\u2066\u202e\u2069\u200f" * 500 + "6"),
    "variation selectors": boxed("6" + "\ufe0f" * 1_900),
    "raised and lowered digits": boxed("\u2079" * 900 + "\u2089" * 900),
    "surrogates in a number": boxed("6\ud800\udc006"),
    "minus signs at a box": "-" * 200_000 + boxed("6"),
    "operators at a box": "+ * / < > " * 20_000 + "\\boxed{6}" + " + * / < > ^" * 20_000,
    "open fractions at a box": "\\frac{" * 50_000 + "\\boxed{6}" + "}" * 50_000,
    "open dollars at boxes": "$\\boxed{6}" * 20_000,
    "joined boxes": "\\boxed{6}, " * 20_000,
    "second values": "\\boxed{6} " + "or " * 60_000 + "7",
    "blanks behind a box": "\\boxed{6}" + " " * 200_000 + "or 7",
    "statements in mathematics": "the answer is $6$ or $7$, " * 20_000,
    "asides": "The answer is 6, but " + "also or " * 50_000,
    "names": boxed("half of " * 200 + "x = 6"),
    "many equals": boxed("=".join(["6"] * 900)),
    "many approximations": boxed("6\\approx " * 200 + "6"),
    "many unions": boxed("\\cup ".join(["(1,2)"] * 250)),
    "many choices": boxed("A or " * 300 + "B"),
    "a long product": boxed("*".join(["x"] * 900)),
    "nested fractions": boxed("\\frac{1}{" * 28 + "x" + "}" * 28),
    "nested text": boxed("\\text{" * 300 + "6" + "}" * 300),
    "a power in a sum": boxed("\\sum_{k=1}^{99999} k^{k}"),
    "a huge root": boxed("\\sqrt[99999]{99999!}"),
    "a huge modulus": boxed("7^{99999} \\mod 10^{99999}"),
    "an endless integral": boxed("\\int_0^{\\infty} \\sin(x^x) dx"),
    "a large matrix": boxed("\\begin{pmatrix}" + "1 & " * 400 + "1 \\end{pmatrix}"),
    "labels between boxes": "so \\boxed{1}" + "(a)" * 39 + "!\\boxed{2}",
    "open labels between boxes": "so \\boxed{1}" + "(a:" * 39 + "!\\boxed{2}",
    "cases between boxes": ("\\boxed{1}" + "case 1." * 16 + "if!") * 500 + "\\boxed{2}",
    "commas between choices": boxed("\\text{A" + ",,,,,B" * 300 + "x}"),
    "new lines inside a line": "x" + "\n" * 90_000 + "y",
    "blanks inside a line": "x" + " " * 90_000 + "y",
    "commas behind a choice": "A" + "," * 90_000 + "x",
    "blanks around second values": ("\\boxed{6}" + " " * 59 + "or" + " " * 59) * 700,
    "a long first value": boxed("^" + " " * 90_000 + "x") + " or 7",
    "an f-string": boxed("{__import__('os').system('touch {marker}')}"),
    "an eval in a name": boxed("\\operatorname{__import__('os').system('touch {marker}')}(x)"),
    "input of a file": boxed("\\input{/etc/passwd}"),
    "percent format": boxed("%n%s%d%(marker)s"),
    "a pickle": boxed("cos\nsystem\n(S'touch {marker}'\ntR."),
    "json of the worker": boxed('"}\n{"result": true}'),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_settled_within_the_limit_and_never_accepted(name, tmp_path):
    marker = tmp_path / "executed"
    verifier = _hostile_verifier()
    clock, processor = time.monotonic(), time.process_time()
    verdict = verifier.verify(["5"], [HOSTILE[name].replace("{marker}", str(marker))])[0]
    assert time.process_time() - processor < 1.5, (
        "reading happens outside the guarded process: it must be fast by itself"
    )
    assert time.monotonic() - clock < 20.0, "the limit of one second, with patience on a loaded machine"
    assert verdict.label in ("wrong", "no_answer", "timed_out")
    assert not marker.exists(), "nothing in a response is evaluated"


_KEPT = {}


def _hostile_verifier():
    """One verifier for all hostile texts, its process running: the start is no part of the limit."""
    if "verifier" not in _KEPT:
        _KEPT["verifier"] = MathVerifier(timeout_s=1.0, memory_mb=768, workers=1)
    _KEPT["verifier"].pool.run([{"judge": "first", "gold": "x", "answer": "x+0"}])
    return _KEPT["verifier"]


def test_a_limit_has_a_label_and_a_reason_of_its_own():
    verdict = _hostile_verifier().verify(["5"], [boxed("9^{9^{9^{9^9}}}")])[0]
    assert verdict.label == "timed_out" and "longer than 1 s" in verdict.reason
    refused = _hostile_verifier().verify(["5"], [boxed("x^{123456789}")])[0]
    assert refused.label == "timed_out" and "a power of 123456789 is beyond the limits" in refused.reason


def test_a_hostile_text_does_not_harm_its_neighbours():
    golds, responses = ["5", "(x+1)^2", "5"], [boxed("((9!)!)!"), boxed("x^2+2x+1"), boxed("5")]
    assert [v.label for v in _hostile_verifier().verify(golds, responses)] == ["timed_out", "correct", "correct"]


# ------------------------------------------------------------------ properties

INTEGERS = st.integers(-(10**20), 10**20)


def notations(value: int):
    """The accepted ways of writing a whole number."""
    minus = "" if value >= 0 else "-"
    digits = str(abs(value))
    forms = [
        minus + digits, f"{value:,}", f"{value:,}".replace(",", "{,}"), f"{value:,}".replace(",", ",\\!"),
        f"{value:,}".replace(",", "\\,"),
        f"{minus}{digits}.0", f"\\frac{{{2 * value}}}{{2}}", f"{3 * value}/3", f"{minus}\\${digits}",
        f"{value}\\text{{ cm}}", f"{minus}0{digits}",
        f"\\text{{{value}}}", f"x = {value}", f"({value})", f"{value}^\\circ",
        f"\\mathbf{{{value}}}", f" {value} ", f"\\displaystyle {value}",
    ]  # fmt: skip
    return [*forms, f"+{digits}"] if value >= 0 else [*forms, "\u2212" + digits]


@settings(max_examples=40, deadline=None)
@given(INTEGERS, st.data())
def test_a_number_equals_itself_in_every_accepted_notation(value, data):
    from polarity_lib.verification.comparison import compare

    one, other = (data.draw(st.sampled_from(notations(value))) for _ in range(2))
    if "\\text{ cm" in one and "\\$" in other:
        assert compare(one, other) is False  # a length is no sum of money
    assert compare(str(value), other) is True
    assert compare(str(value + 1), other) is False


@settings(max_examples=60, deadline=None)
@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_equality_of_numbers_is_symmetric_and_exact(a, b):
    from polarity_lib.verification.comparison import compare

    one, other = f"\\frac{{{a.numerator}}}{{{a.denominator}}}", f"{b.numerator}/{b.denominator}"
    assert compare(one, other) is compare(other, one) is (a == b)
    assert compare(one, f"{a.numerator}/{a.denominator}") is True


ANSWERS = st.text(alphabet="0123456789xyab+-*/^_(){}[],.%$\\ =;<>\u2212\u221a\u03c0\u00b0", max_size=30)


@settings(max_examples=300, deadline=None)
@given(ANSWERS, ANSWERS)
def test_plain_comparison_is_symmetric_where_it_decides_and_reflexive(a, b):
    from polarity_lib.verification.comparison import compare

    assert compare(a, b) == compare(b, a)
    assert compare(a, a) in (True, None)


@settings(max_examples=300, deadline=None)
@given(ANSWERS)
def test_tidying_twice_changes_nothing_and_reading_the_tidy_text_gives_the_same_tree(text):
    from polarity_lib.verification.exact import read, tidy

    assert read(tidy(text)) == read(text)
    assert read(read(text).text) == read(read(read(text).text).text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.text(max_size=40), st.sampled_from([None, True, False]))
def test_no_text_ever_raises(response, gold, truncated):
    verdict = _hostile_verifier().verify([gold], [response], truncated=None if truncated is None else [truncated])[0]
    assert verdict.label in LABELS and verdict.reason


POLYNOMIAL = st.lists(st.integers(-9, 9), min_size=2, max_size=4)


@settings(max_examples=15, deadline=None)
@given(POLYNOMIAL)
def test_a_polynomial_equals_itself_in_any_order_and_differs_from_its_neighbour(coefficients):
    terms = [f"{c}x^{{{power}}}" for power, c in enumerate(coefficients)]
    forwards, backwards = " + ".join(f"({t})" for t in terms), " + ".join(f"({t})" for t in reversed(terms))
    golds = [forwards, forwards, backwards]
    labels = [
        v.label
        for v in _hostile_verifier().verify(golds, [boxed(backwards), boxed(backwards + " + 1"), boxed(forwards)])
    ]
    assert labels == ["correct", "wrong", "correct"]


def teardown_module():
    for verifier in _KEPT.values():
        verifier.close()
