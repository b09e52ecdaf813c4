"""What the claims of LENS quote, and their rules with a pencil."""

import numpy as np
import pandas as pd
import pytest
from made_up_runs import check_quoted, curves

from polarity_lib.claims import judge
from polarity_lib.experiments import Runs
from polarity_lib.papers.lens import claims
from polarity_lib.papers.lens.claims import CLAIMS
from polarity_lib.papers.lens.experiments import FACTORS

# What a claim quotes from its paper, and the cells of data/papers.csv it is the difference of.
SOURCES = [("LENS-C1", f"k = {k}", "Table 1", "lens", "grpo", [f"Llama pass@{k}", f"Qwen pass@{k}"]) for k in (1, 16)]
SOURCES += [("LENS-C1", f"k = {k}, every k together", "Table 1", "lens", "grpo", [f"Llama pass@{k}", f"Qwen pass@{k}"])
            for k in (1, 2, 4, 8, 16)]
SOURCES += [("LENS-C2", f"k = {k}", "Table 3", "lens", "grpo", [f"Llama pass@{k}", f"Qwen pass@{k}"]) for k in (1, 16)]
SOURCES += [("LENS-C5", "negative groups alone above GRPO", "Table 2", "negative only", "grpo", ["Llama pass@1"]),
            ("LENS-C5", "mixed groups alone above GRPO", "Table 2", "mixed only", "grpo", ["Llama pass@1"])]


@pytest.mark.parametrize("claim, subtest, table, left, right, columns", SOURCES)
def test_quoted_differences_are_those_of_the_papers_tables(claim, subtest, table, left, right, columns):
    check_quoted(claim, subtest, table, left, right, columns)


def test_each_claim_has_one_or_two_primary_sub_tests_and_headline_contrasts_are_read_at_one_rate():
    for claim in CLAIMS:
        if claim.experiment:
            primary = [test.name for test in claim.tests() if test.primary]
            assert 1 <= len(primary) <= 2
            again = {test.reading_of: test for test in claim.tests() if test.reading_of}
            assert set(again) <= set(primary)
            assert all(test.experiment in ("lens_one_rate", "") for test in again.values())
    read_again = {claim.name for claim in CLAIMS if any(test.reading_of for test in claim.tests())}
    assert {"LENS-C1", "LENS-C2", "LENS-C3", "LENS-C5", "LENS-C10", "OURS-6"} == read_again


def test_a_gain_at_one_rate_alone_is_called_so():
    own = curves({"lens": [[0.30], [0.31], [0.32]], "grpo": [[0.35], [0.36], [0.371]]})
    one = curves({"lens": [[0.30], [0.31], [0.32]], "grpo": [[0.25], [0.26], [0.271]]})
    table = judge("LENS-C1", {"lens": own, "lens_one_rate": one}).set_index("subtest")
    assert table.verdict["k = 1"] == "depends on the rate" and table.verdict["k = 1, one rate"] == "replicated"
    assert table.ours["k = 1"] == pytest.approx(-5.0333, abs=1e-3)


def test_harder_levels_by_hand():
    """Per level, of four answers: LENS has one more right at levels 5 and 6 than GRPO, none at 2 and 4: 25 points."""
    rows = [{"set": "test", "arm": arm, "seed": seed, "level": level, "samples": 4, "correct": 1 + (arm == "lens" and level > 4)}
            for arm in ("lens", "grpo") for seed in (0, 1) for level in (2, 4, 5, 6)]
    found = claims._harder_gains_more(Runs(pd.DataFrame(), pd.DataFrame(rows), pd.DataFrame(), []))
    assert found.interval.estimate == pytest.approx(25) and found.reason.startswith("levels 5, 6 against 2, 4")


def test_dead_groups_by_hand():
    runs = curves({"grpo": [[0.5, 0.4, 0.1], [0.6, 0.4, 0.1]], "lens": [[0.5, 0.3, 0.1], [0.6, 0.3, 0.0]]}, "groups/all_wrong")
    assert claims._many_at_first(runs).interval.estimate == pytest.approx(30)  # 50 and 60, minus 25
    assert claims._slowly_fewer(runs).interval.estimate == pytest.approx(-17.5)  # 10 - 25 and 10 - 30
    assert claims._fewer_dead("lens", runs).interval.estimate == pytest.approx(-5)  # means over training: 30 - 33.3 and 30 - 36.7


def test_entropy_over_factors_by_hand():
    """Entropies that fall as a power of the factor, two seeds: from 1.1 to 8 by 1 - (1.1 / 8)^power."""
    runs = curves({f"factor={f:g}": [[f**-0.5], [2 * f**-0.6]] for f in FACTORS}, "test/entropy")
    found = claims._entropy_over_factors(runs)
    assert found.interval.estimate == pytest.approx(100 * (np.mean((1.1 / 8) ** np.array([0.5, 0.6])) - 1))
    assert found.verdict == "replicated"


def test_entropy_at_equal_accuracy_by_hand():
    """Both reach 0.3: GRPO at its end with entropy 0.2, LENS half way with 0.3; the start had 0.4: 25 per cent of it."""
    paths = {"grpo": ([0.1, 0.2, 0.3], [0.4, 0.3, 0.2]), "lens": ([0.1, 0.3, 0.5], [0.4, 0.3, 0.2])}
    accuracy = curves({arm: [list(x)] * 2 for arm, (x, _) in paths.items()}, claims.ACCURACY)
    entropy = curves({arm: [list(y)] * 2 for arm, (_, y) in paths.items()}, claims.ENTROPY)
    both = Runs(pd.concat([accuracy.metrics, entropy.metrics]), pd.DataFrame(), pd.DataFrame(), [])
    assert claims._entropy_at_equal_pass_1(both).interval.estimate == pytest.approx(25)
