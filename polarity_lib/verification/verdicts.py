"""The verdict: what a checker said about one response, and why.

Every checker of the project (the tiny worlds, real mathematics) returns this
one record, so rewards, tables and figures never ask which checker it was.

    correct    the final answer equals the gold answer
    wrong      there is a final answer and it does not equal the gold answer
    no_answer  the response ended by itself without a final answer
    truncated  the sampler cut the response off before a final answer
    timed_out  the checker reached its limit of time or memory before it knew
"""

from collections.abc import Iterable
from dataclasses import dataclass

LABELS = ("correct", "wrong", "no_answer", "truncated", "timed_out")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One verdict.

    Attributes:
        label: one of `LABELS`.
        answer: the final answer as it stands in the response, or None where
            none was found.
        gold: the gold answer as the checker understood it.
        reason: one sentence for a person, saying what decided.

    Raises:
        ValueError: the label is not one of `LABELS`.
    """

    label: str
    answer: str | None
    gold: str
    reason: str

    def __post_init__(self):
        if self.label not in LABELS:
            raise ValueError(f"unknown verdict label {self.label!r}; known labels: {', '.join(LABELS)}")

    @property
    def is_correct(self) -> bool:
        """True for the label `correct` and for no other."""
        return self.label == "correct"


def count_labels(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How often each label occurs; all five are listed, in the order of `LABELS`, also at zero."""
    counts = dict.fromkeys(LABELS, 0)
    for verdict in verdicts:
        counts[verdict.label] += 1
    return counts
