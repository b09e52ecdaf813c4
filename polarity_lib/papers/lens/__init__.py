"""LENS: penalties that grow with the policy's confidence in a wrong answer (arXiv 2510.08696).

    methods.py      the advantage of wrong answers, its variants and controls
    experiments.py  which arms, in which worlds, how many seeds
    probes.py       how many wrong answers it would hardly touch
    claims.py       C1 to C14 and one of ours: the rule of each
    figures.py      tables to figures, notebooks 40 and 41
    theory.py       the likelihood view on a policy so small that everything is exact
"""

from polarity_lib.papers import Paper

PAPER = Paper(
    title="LENS",
    arxiv="2510.08696",
    about="A policy read as a reward model gives wrong answers graded penalties, so that groups in which every answer is wrong "
          "teach something.",
    notebooks=("40", "41"),
)
