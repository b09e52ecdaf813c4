"""A rule's digest follows what judges; the ledger says whether a rule is older than its runs."""

from dataclasses import replace

import pandas as pd
import pytest

from polarity_lib.claims import COLUMNS, compare, is_greater, is_less
from polarity_lib.registry import CLAIMS
from polarity_lib.results import ROOT
from polarity_lib.study import rules


def test_the_committed_rules_are_the_rules():
    assert rules.committed_rules() == rules.rules()


def test_words_for_people_play_no_part_and_what_judges_does(monkeypatch):
    claim = CLAIMS["PSRNSR-C1"]
    known = rules.rule_of(claim)
    first = claim.subtests[0]
    assert rules.rule_of(replace(claim, says="Another sentence.", figure="10_other")) == known
    for changed in (replace(first, find=compare(is_less, "nsr", "base", "test/pass@1")),
                    replace(first, find=compare(is_greater, "nsr", "base", "test/pass@1", margin=1.0)),
                    replace(first, find=compare(is_greater, "nsr", "grpo", "test/pass@1")),
                    replace(first, primary=not first.primary)):
        assert rules.rule_of(replace(claim, subtests=(changed, *claim.subtests[1:]))) != known
    monkeypatch.setattr("polarity_lib.claims.MARGIN", 2.0)  # a default was bound when the rule was defined
    assert rules.rule_of(claim) == known


@pytest.mark.parametrize("when, starts, older", [
    (("abc1234", "2026-01-01T12:00:00+00:00"), ["2026-01-01T12:00:01Z"], "yes"),
    (("abc1234", "2026-01-01T12:00:00+02:00"), ["2026-01-01T11:00:00Z"], "yes"),  # ten o'clock in Greenwich
    (("abc1234", "2026-01-01T12:00:00+00:00"), ["2026-02-01T00:00:00Z", "2026-01-01T11:59:59Z"], "no"),
    (("abc1234", "2026-01-01T12:00:00+00:00"), ["2026-02-01T00:00:00Z", None], "not checkable"),
    (None, ["2026-02-01T00:00:00Z"], "not checkable"),
    (("abc1234", "2026-01-01T12:00:00+00:00"), [], "not checkable"),
])
def test_older(when, starts, older, monkeypatch):
    monkeypatch.setattr(rules, "written", lambda claim, rule: when)
    monkeypatch.setattr(rules, "started", lambda claim: starts)
    found = rules.age(CLAIMS["PSRNSR-C1"])
    assert found["rule_older"] == older and found["rule_commit"] == (when[0] if when else "")


def test_a_rule_that_was_changed_and_not_written_down_is_not_older(monkeypatch):
    monkeypatch.setattr(rules, "committed_rules", lambda: {"PSRNSR-C1": "code-0000000000"})
    assert rules.age(CLAIMS["PSRNSR-C1"])["rule_older"] == "no"
    assert rules.age(CLAIMS["PSRNSR-C12"])["rule_older"] == "needs no run"


def test_a_table_gets_the_same_age_in_all_rows_of_a_claim():
    table = pd.DataFrame([{"claim": "PSRNSR-C12", "subtest": s} for s in ("a", "")], columns=COLUMNS)
    assert list(rules.with_ages(table).rule_older) == ["needs no run"] * 2


def test_pilots_are_listed_with_what_they_came_before():
    table = pd.read_csv(ROOT / "data" / "pilots.csv", keep_default_na=False)
    assert list(table.columns) == ["what", "world", "runs", "saw", "before"] and (table != "").all(axis=None)
    told = " ".join(table.before)
    assert all(claim in told for claim in ("PSRNSR-C11", "OURS-3", "A3PO-C5", "A3PO-C14", "LENS-C4"))
