"""Claims of A3PO with rules of their own, on numbers where the verdict is plain to see; and what they quote."""

import numpy as np
import pandas as pd
import pytest
from made_up_runs import by_hand, check_quoted, curves

from polarity_lib.claims import judge
from polarity_lib.experiments import Runs
from polarity_lib.papers.a3po import claims
from polarity_lib.papers.a3po.experiments import BASELINES, EXPERIMENTS

# What a claim quotes from its paper, and the cells of data/papers.csv it is the difference of.
MODELS = ["Qwen2.5-7B-Math", "Qwen3-8B-Base", "R1-Distill-Qwen-7B"]
SOURCES = [("A3PO-C13", f"above {m}, among five", "Table 2", "a3po", m, MODELS) for m in BASELINES]
SOURCES += [("A3PO-C13", "above GRPO", "Table 2", "a3po", "grpo", MODELS),
            ("A3PO-C13", "above every baseline", "Table 2", "a3po", "lp_reg", MODELS),
            ("A3PO-C13", "DAPO above GRPO", "Table 2", "dapo", "grpo", MODELS)]


def together(*parts: Runs) -> Runs:
    """Several metrics of the same arms."""
    return Runs(pd.concat([part.metrics for part in parts]), pd.DataFrame(), pd.DataFrame(), [])


def row(claim: str, subtest: str, runs):
    return judge(claim, runs).set_index("subtest").loc[subtest]


# ---------------------------------------------------------------- which sub-tests there are


def test_every_claim_names_one_or_two_primary_subtests_and_reads_only_those_again():
    for claim in claims.CLAIMS:
        tests = {test.name: test for test in claim.tests()}
        primary = [name for name, test in tests.items() if test.primary]
        assert len(tests) == len(claim.tests()) and 1 <= len(primary) <= 2, claim.name
        assert {test.reading_of for test in tests.values()} - {""} <= set(primary)
        assert claim.experiment in EXPERIMENTS


def test_the_headline_is_read_at_one_rate_and_single_polarities_by_definition():
    for claim, experiment, choice in (("C13", "a3po_one_rate", "rate"), ("C14", "a3po_one_rate", "rate"),
                                      ("C1", "definitions_latent", "definition"), ("C2", "definitions_latent", "definition"),
                                      ("C5", "definitions_latent", "definition")):
        tests = next(c for c in claims.CLAIMS if c.name == f"A3PO-{claim}").tests()
        for name in (t.name for t in tests if t.primary):
            again = [t for t in tests if t.reading_of == name]
            assert again and all((t.experiment, t.choice) == (experiment, choice) for t in again)


# ---------------------------------------------------------------- settled entropy


def test_settled_is_the_geometric_mean_of_the_second_half():
    runs = curves({"a": [[9.0, 9.0, 2.0, 8.0]], "base": [[3.0]]})  # steps 0, 10, 20, 30: the half is at 15
    assert claims.settled(runs, "test/pass@1").loc[0].to_dict() == pytest.approx({"a": 4.0, "base": 3.0})
    whole = claims.settled(runs, "test/pass@1", since=0.0)  # the start of a trained run takes no part
    assert whole.loc[0, "a"] == pytest.approx((9 * 2 * 8) ** (1 / 3))


def test_an_arm_that_is_later_but_ends_alike_does_not_explore_more():
    late, early = [[0.5, 0.4, 0.1, 0.1, 0.1]] * 3, [[0.5, 0.1, 0.1, 0.1, 0.1]] * 3
    runs = curves({"nsr_grpo_seq": late, "grpo": early}, "validation/entropy")
    assert row("A3PO-C2", "entropy, NSR against GRPO", runs).ours == pytest.approx(0)
    assert row("A3PO-C2", "entropy, NSR against GRPO, whole course", runs).ours == pytest.approx(100 * (4**0.25 - 1))


# ---------------------------------------------------------------- definitions and rates


def test_a_contrast_that_turns_with_the_formula_depends_on_the_definition():
    noise = (0.0, 0.01, 0.02)
    mine = by_hand({"grpo": [0.8 + x for x in noise], "psr_grpo_seq": [0.6, 0.62, 0.61], "nsr_grpo_seq": [0.6, 0.62, 0.61]})
    other = by_hand({"grpo": [0.8 + x for x in noise], "psr": [0.95, 0.94, 0.96], "nsr": [0.6, 0.61, 0.63],
                     "psr_grpo_tok": [0.6, 0.61, 0.63], "nsr_grpo_tok": [0.6, 0.61, 0.63]})
    found = {"single_polarity": mine, "definitions_latent": other}
    assert row("A3PO-C5", "GRPO above PSR", found).verdict == "depends on the definition"
    assert row("A3PO-C5", "GRPO above NSR", found).verdict == "replicated"
    assert row("A3PO-C5", "GRPO above PSR", {"single_polarity": mine}).verdict == "replicated"


def test_a_headline_that_turns_at_one_rate_depends_on_it():
    arms = {m: [0.5, 0.51, 0.52] for m in BASELINES}
    own, one = by_hand(arms | {"a3po": [0.6, 0.62, 0.63]}), by_hand(arms | {"a3po": [0.4, 0.42, 0.41]})
    assert row("A3PO-C13", "above GRPO", {"a3po": own}).verdict == "replicated"
    assert row("A3PO-C13", "above GRPO", {"a3po": own, "a3po_one_rate": one}).verdict == "depends on the rate"


# ---------------------------------------------------------------- C3 and C6


def test_the_leak_is_read_on_held_out_problems_and_on_the_pool():
    arms = {"base leaky": [0.1, 0.11, 0.1], "psr_grpo_seq leaky": [0.3, 0.31, 0.32], "grpo leaky": [0.1, 0.12, 0.11]}
    held_out = curves({arm: [[v] for v in values] for arm, values in arms.items()}, "probe/unearned")
    pool = {"psr_grpo_seq leaky": [[0.5, 0.9]] * 3, "grpo leaky": [[0.5, 0.6]] * 3}
    right = {arm: [[0.5, 0.5]] * 3 for arm in pool}
    runs = together(held_out, curves(pool, "train/paid"), curves(right, "train/reward"))
    assert row("A3PO-C3", "", runs).verdict == "replicated"
    assert row("A3PO-C3", "unearned on the pool, PSR above GRPO", runs).ours == pytest.approx(30)


def shifted_runs(base_at_16: float) -> Runs:
    """A right-only policy that keeps half of its accuracy on every shifted world where the others keep all."""
    parts = [by_hand({"psr_grpo_seq": [0.8] * 3, "grpo": [0.8] * 3, "nsr_grpo_seq": [0.8] * 3, "base": [0.1] * 3})]
    for world in claims.SHIFTED_WORLDS:
        parts.append(curves({"base": [[base_at_16]] * 3}, f"shifted/{world}/pass@16"))
        kept = {"psr_grpo_seq": [[0.40], [0.41], [0.42]], "grpo": [[0.8]] * 3, "nsr_grpo_seq": [[0.8]] * 3}
        parts.append(curves(kept, f"shifted/{world}/pass@1"))
    return together(*parts)


def test_what_is_kept_is_compared_where_the_base_is_neither_lost_nor_at_home():
    found = row("A3PO-C6", "PSR keeps less than GRPO", shifted_runs(0.3))
    assert found.ours == pytest.approx(100 * (0.41 / 0.8 - 1)) and found.verdict == "replicated"
    assert row("A3PO-C6", "", shifted_runs(0.9)).verdict == "not run at this scale"


# ---------------------------------------------------------------- C13


@pytest.mark.parametrize("lp_reg, verdict, shown", [
    ([0.50, 0.51, 0.52], "replicated", "above 5 of 5"),
    ([0.70, 0.71, 0.72], "differs here", "above 4 of 5; shown is lp_reg"),
    ([0.60, 0.611, 0.619], "no effect", "above 4 of 5; shown is lp_reg"),  # one tie is enough to fail
    ([0.50, 0.61, 0.72], "inconclusive", "above 4 of 5; shown is lp_reg"),
])
def test_above_every_baseline(lp_reg, verdict, shown):
    runs = by_hand({m: [0.4, 0.41, 0.42] for m in BASELINES} | {"lp_reg": lp_reg, "a3po": [0.60, 0.61, 0.62]})
    found = row("A3PO-C13", "above every baseline", runs)
    assert found.verdict == verdict and found.reason.startswith(shown) and np.isnan(found.p)


def test_who_draws_more_is_compared_at_the_answers_that_both_have_drawn():
    drawn = curves({"a3po": [[10, 10, 10]] * 2, "dapo": [[30, 30, 20]] * 2}, "sampling/drawn")
    held_out = curves({"a3po": [[0.2, 0.3, 0.4]] * 2, "dapo": [[0.2, 0.5, 0.6]] * 2}, "validation/pass@1")
    trained = drawn.metrics[drawn.metrics.step > 0]  # nothing is drawn before training
    runs = Runs(pd.concat([trained, held_out.metrics]), pd.DataFrame(), pd.DataFrame(), [])
    # A3PO draws 200 answers for its 40 %; DAPO has 300 at its first curve point, so 200 lie two thirds of the way to 50 %.
    assert row("A3PO-C13", "above DAPO per answer drawn", runs).ours == pytest.approx(40 - (20 + 30 * 2 / 3))


# ---------------------------------------------------------------- C10, C11


def cells_of_tokens(flipped: tuple[str, ...] = ()) -> Runs:
    """Entropy 20 % up or down as A3PO-C10 predicts, three seeds; the arms of `flipped` go the other way."""
    arms = {"none": [[1.0]] * 3}
    for prefix, raising, scales in (("", ("right_low", "wrong_high"), (0.2, 0.5, 2.0, 5.0)),
                                    ("entropy/", ("right_high", "wrong_low"), (0.2, 5.0))):
        for cell in ("right_low", "right_high", "wrong_low", "wrong_high"):
            for scale in scales:
                arm = f"{prefix}{cell}x{scale:g}"
                up = ((cell in raising) == (scale > 1)) != (arm in flipped)
                arms[arm] = [[1 + (0.2 if up else -0.2) + noise] for noise in (-0.01, 0, 0.01)]
    return curves(arms, "validation/entropy")


def test_signs_are_counted_and_one_that_is_significantly_wrong_is_too_many():
    by_probability, by_entropy, whole = judge("A3PO-C10", cells_of_tokens()).to_dict("records")
    assert (by_probability["verdict"], by_probability["ours"]) == ("replicated", 16)
    assert (by_entropy["verdict"], by_entropy["ours"], whole["verdict"]) == ("replicated", 8, "replicated")
    one_off = judge("A3PO-C10", cells_of_tokens(("right_lowx2",))).iloc[0]
    assert one_off.verdict == "inconclusive" and "significantly opposite: right_low x2;" in one_off.reason
    most = tuple(f"{cell}x{scale}" for cell in ("right_low", "right_high", "wrong_low") for scale in ("0.2", "0.5", "5"))
    assert judge("A3PO-C10", cells_of_tokens(most)).iloc[0].verdict == "differs here"


def test_the_named_cells_are_compared_at_their_weaker_and_the_others_at_their_stronger():
    arms = {"none": [1.0, 1.0, 1.0], "right_lowx5": [1.5, 1.6, 1.5], "wrong_highx5": [1.4, 1.4, 1.6],
            "right_highx5": [0.9, 0.9, 0.9], "wrong_lowx5": [1.1, 1.0, 0.8]}
    runs = curves({arm: [[v] for v in values] for arm, values in arms.items()}, "validation/entropy")
    found = judge("A3PO-C11", runs).iloc[0]
    assert found.ours == pytest.approx((30 + 40 + 60) / 3) and found.verdict == "replicated"


def test_the_cell_that_loses_more_decides_whether_one_loses():
    runs = by_hand({"none": [0.5, 0.51, 0.52], "right_lowx5": [0.5, 0.51, 0.52], "wrong_highx5": [0.3, 0.31, 0.33]})
    found = row("A3PO-C11", "neither loses accuracy", runs)
    assert found.verdict == "differs here" and found.reason.startswith("shown is wrong_highx5")


@pytest.mark.parametrize("claim, subtest, table, left, right, columns", SOURCES)
def test_quoted_differences_are_those_of_the_papers_tables(claim, subtest, table, left, right, columns):
    check_quoted(claim, subtest, table, left, right, columns)
