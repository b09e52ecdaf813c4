"""PSR/NSR: learning from right answers only, from wrong answers only, and from weighted mixes (arXiv 2506.01347).

    methods.py      the three formulas that share the names PSR and NSR
    experiments.py  which arms, in which worlds, how many seeds
    claims.py       C1 to C14 and three of ours: the rule of each
    figures.py      tables to figures, notebooks 10 and 11
    theory.py       the gradient analysis, checked by autograd
"""

from polarity_lib.papers import Paper

PAPER = Paper(
    title="PSR/NSR",
    arxiv="2506.01347",
    about="Positive sample reinforcement raises right answers and ignores wrong ones; negative sample reinforcement does the "
          "reverse. The paper finds that wrong answers alone match GRPO and keep the variety of the base.",
    notebooks=("10", "11"),
)
