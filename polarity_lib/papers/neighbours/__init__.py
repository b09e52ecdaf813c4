"""Neighbours: methods that came after the five papers, which a reader of those will ask about."""

from polarity_lib.papers import Paper

PAPER = Paper(
    title="Neighbours",
    about="MaxRL, F-GRPO, QAE, RL-ZVP, ASPO and confidence-weighted NSR: what to do with groups of one verdict, with the "
    "baseline, and with unlikely right tokens. Their formulas are known to us from third parties; none was read in full.",
)
