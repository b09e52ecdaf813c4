"""Suites of other projects that grade mathematics: their cases as tables, where each comes from beside them.

`tests/data/graders/README.md` names the source and the licence of every table. A case is contested where its
expectation goes against a rule of ours that docs/verification.md gives, or against mathematics; the column says which.
"""

import csv
from pathlib import Path

import pytest

from polarity_lib.verification.mathematics import MathVerifier

TABLES = Path(__file__).parent / "data" / "graders"


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cases():
    """All rows with the name of their suite; a bare answer is put into a box, as a response would give it."""
    for path in sorted(TABLES.glob("*.csv")):
        for row in rows_of(path) if path.stem != "misses" else ():
            text = row["text"] if row["kind"] == "response" else f"So it is $\\boxed{{{row['text']}}}$."
            yield row | {"suite": path.stem, "response": text}


@pytest.fixture(scope="module")
def judged():
    rows = list(cases())
    with MathVerifier(timeout_s=5.0, workers=1) as verifier:
        verdicts = verifier.verify([row["gold"] for row in rows], [row["response"] for row in rows])
    return [row | {"label": verdict.label} for row, verdict in zip(rows, verdicts)]


def test_uncontested_cases_are_right_on_98_of_100_and_none_is_accepted_wrongly(judged):
    uncontested = [row for row in judged if not row["contested"]]
    wrong = [row for row in uncontested if (row["label"] == "correct") != (row["accept"] == "yes")]
    assert [row for row in wrong if row["label"] == "correct"] == []
    assert len(uncontested) > 500 and len(wrong) <= 0.02 * len(uncontested)


def test_every_difference_from_a_suite_is_in_the_table_of_misses_with_its_reason(judged):
    differing = {
        (row["suite"], row["gold"], row["text"]) for row in judged if (row["label"] == "correct") != (row["accept"] == "yes")
    }
    misses = rows_of(TABLES / "misses.csv")
    assert {(row["suite"], row["gold"], row["text"]) for row in misses} == differing
    assert all(row["reason"] for row in misses)


def test_every_table_names_its_source():
    page = (TABLES / "README.md").read_text(encoding="utf-8")
    assert [path.stem for path in TABLES.glob("*.csv") if f"`{path.name}`" not in page] == []
