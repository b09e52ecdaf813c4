"""What the claims of LENS quote."""

import pytest
from made_up_runs import check_quoted

# What a claim quotes from its paper, and the cells of data/papers.csv it is the difference of.
SOURCES = [("LENS-C1", f"k = {k}", "Table 1", "lens", "grpo", [f"Llama pass@{k}", f"Qwen pass@{k}"]) for k in (1, 2, 4, 8, 16)]
SOURCES += [("LENS-C2", f"chain_hard, test/pass@{k}", "Table 3", "lens", "grpo", [f"Llama pass@{k}", f"Qwen pass@{k}"])
            for k in (1, 16)]
SOURCES += [("LENS-C5", "negative groups alone above GRPO", "Table 2", "negative only", "grpo", ["Llama pass@1"]),
            ("LENS-C5", "mixed groups alone above GRPO", "Table 2", "mixed only", "grpo", ["Llama pass@1"])]


@pytest.mark.parametrize("claim, subtest, table, left, right, columns", SOURCES)
def test_quoted_differences_are_those_of_the_papers_tables(claim, subtest, table, left, right, columns):
    check_quoted(claim, subtest, table, left, right, columns)
