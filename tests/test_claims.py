"""The rules that judge claims, on numbers where the verdict is plain to see."""

import numpy as np
import pandas as pd
import pytest

from polarity_lib import claims
from polarity_lib.config import ConfigError
from polarity_lib.experiments import EXPERIMENTS, Runs
from polarity_lib.results import ROOT

NOISE = np.array([-0.1, 0.1, -0.05, 0.05])  # four seeds that hardly differ


@pytest.mark.parametrize("shift, verdict", [(5, "replicated"), (-5, "contradicted"), (0, "no effect")])
def test_is_greater(shift, verdict):
    assert claims.is_greater(shift + NOISE).verdict == verdict


def test_is_less_is_its_mirror():
    found = claims.is_less(NOISE - 5)
    assert found.verdict == "replicated"
    assert found.interval.estimate == pytest.approx(-5) and found.interval.low < -5 < found.interval.high
    assert claims.is_less(NOISE + 5).verdict == "contradicted"


def test_wide_intervals_settle_nothing():
    assert claims.is_greater([-20, 20, -15, 25]).verdict == "inconclusive"
    assert claims.is_equivalent([-20, 20, -15, 25]).verdict == "inconclusive"
    assert claims.is_not_worse([-20, 20, -15, 25]).verdict == "inconclusive"


@pytest.mark.parametrize("shift, equal, not_worse", [
    (0, "replicated", "replicated"),
    (-2, "replicated", "replicated"),  # inside the margin of 3
    (-6, "contradicted", "contradicted"),
    (6, "contradicted", "replicated"),  # better is not worse
])
def test_as_good_as(shift, equal, not_worse):
    assert claims.is_equivalent(shift + NOISE).verdict == equal
    assert claims.is_not_worse(shift + NOISE).verdict == not_worse


def test_one_seed_gives_no_interval():
    for rule in (claims.is_greater, claims.is_less, claims.is_equivalent, claims.is_not_worse):
        assert rule([5.0]).verdict == "inconclusive"


def test_an_order_is_judged_over_all_its_arms():
    rising = np.array([[1, 2, 3], [1.1, 2.2, 3.1], [0.9, 2.1, 3.3], [1, 2.1, 2.9]])
    assert claims.is_ordered(rising, ["a", "b", "c"]).verdict == "replicated"
    assert claims.is_ordered(rising[:, ::-1], ["c", "b", "a"]).verdict == "contradicted"
    assert "a (1.0) < b (2.1)" in claims.is_ordered(rising, ["a", "b", "c"]).reason


@pytest.mark.parametrize("verdicts, whole", [
    (["replicated", "replicated"], "replicated"),
    (["replicated", "contradicted"], "contradicted"),
    (["replicated", "inconclusive"], "inconclusive"),
    (["no effect", "no effect"], "no effect"),
    (["not run at this scale"], "not run at this scale"),
])
def test_roll_up(verdicts, whole):
    word, reason = claims.roll_up(verdicts)
    assert word == whole
    assert reason.startswith("partly") == (len(set(verdicts)) > 1 and "replicated" in verdicts)


def by_hand(final: dict[str, list[float]]) -> Runs:
    """Runs with one metric, test/pass@1, at the last step; a list per arm, one value per seed."""
    rows = [{"experiment": "psr_nsr", "arm": arm, "seed": s, "run": f"{arm}{s}", "scale": "tiny", "step": 200,
             "metric": "test/pass@1", "value": v} for arm, values in final.items() for s, v in enumerate(values)]
    return Runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), arms=[])


def test_judge_reads_shares_as_points_and_pairs_by_seed():
    table = claims.judge("PSRNSR-C1", by_hand({
        "base": [0.30, 0.50, 0.40], "nsr": [0.40, 0.60, 0.501], "grpo": [0.401, 0.599, 0.50]}))
    above, equal, whole = table.to_dict("records")
    assert above["ours"] == pytest.approx((10 + 10 + 10.1) / 3)  # bases differ by 20 points, the pairs do not
    assert (above["verdict"], equal["verdict"], whole["verdict"]) == ("replicated",) * 3
    assert whole["subtest"] == "" and list(table.columns) == claims.COLUMNS


def test_what_was_not_run_is_said():
    table = claims.judge("PSRNSR-C4", by_hand({"base": [0.3, 0.5], "psr": [0.4, 0.6]}))
    assert list(table.verdict) == ["replicated", "not run at this scale", "not run at this scale", "inconclusive"]
    assert set(claims.judge("PSRNSR-C14", None).verdict) == {"not run at this scale"}


def test_the_mechanism_needs_no_run():
    table = claims.judge("PSRNSR-C12")
    assert table.iloc[-1].verdict == "replicated" and len(table) > 10


def test_a_misspelt_claim_names_its_neighbours():
    with pytest.raises(ConfigError, match="PSRNSR-C1"):
        claims.judge("PSRNSR-C15")


def test_every_claim_of_the_card_is_there_and_reads_an_experiment_that_exists():
    assert {f"PSRNSR-C{i}" for i in range(1, 15)} <= set(claims.CLAIMS)
    assert {c.experiment for c in claims.CLAIMS.values()} - {""} <= set(EXPERIMENTS)


def test_every_item_of_the_paper_has_a_line_that_points_somewhere():
    table = pd.read_csv(ROOT / "data" / "figures.csv", keep_default_na=False)
    assert set(table.status) <= {"reproduced", "schematic redrawn", "values unverified", "out of scope"}
    missing = [n for n in table.ours if n and not (ROOT / "figures" / f"{n}.png").exists()]
    assert not missing
