"""What the claims of PSR/NSR quote."""

import pytest
from made_up_runs import check_quoted

# What a claim quotes from its paper, and the cells of data/papers.csv it is the difference of.
SOURCES = [("PSRNSR-C1", "NSR above base, search", "Table 1", "nsr", "base", ["MATH pass@1"]),
           ("PSRNSR-C1", "NSR as good as GRPO, search", "Table 1", "nsr", "grpo", ["MATH pass@1"]),
           ("PSRNSR-C2", "NSR not below base, search", "Table 1", "nsr", "base", ["MATH pass@256"]),
           ("PSRNSR-C4", "PSR above base at 1", "Table 1", "psr", "base", ["MATH pass@1"]),
           ("PSRNSR-C4", "PSR below base at 256, search", "Table 1", "psr", "base", ["MATH pass@256"]),
           ("PSRNSR-C6", "not below base at 256", "Table 1", "w_reinforce", "base", ["MATH pass@256"]),
           ("PSRNSR-C7", "flat to 0.2 at 256", "Table 4", "lambda=0.2", "lambda=0", ["MATH pass@256"]),
           ("PSRNSR-C7", "falls per decade at 256", "Table 4", "lambda=1", "lambda=0.2", ["MATH pass@256"])]


@pytest.mark.parametrize("claim, subtest, table, left, right, columns", SOURCES)
def test_quoted_differences_are_those_of_the_papers_tables(claim, subtest, table, left, right, columns):
    check_quoted(claim, subtest, table, left, right, columns)
