"""BCPG-NSA: offline learning from the good steps of wrong answers (arXiv 2505.14403).

    segmentation.py  an answer cut into steps, without losing a character; steps_text.py: the rules for real texts
    judges.py        is a step right? one small interface; oracle, simulated judges, arithmetic, models; consensus
    mining.py        judges' labels to token weights, the controls of these weights, what a set of wrong answers holds
    losses.py        the offline objectives, pure
    methods.py       the methods made of them
    credit.py        which token is to blame, online: first error, Monte-Carlo values, NTHR
    rewriting.py     wrong answers written on purpose: plausible and garbled
    experiments.py   which arms, in which world, how many seeds; the gates for offline learning
    gates.py         the gates' rule and their file
    probes.py        what finished runs are asked
    claims.py        C1 to C10 and four of ours: the rule of each
    figures.py       tables to figures, notebooks 50 to 52

We could not obtain the full text of the paper. What a function takes from it, and what is ours because the paper's is
unverified, is said at each.
"""

from polarity_lib.papers import Paper

PAPER = Paper(
    title="BCPG-NSA",
    arxiv="2505.14403",
    about="Wrong answers contain right steps. Cut them into steps, let two judges agree on the right ones, and punish these less "
          "while learning from a fixed set of answers.",
    notebooks=("50", "51", "52"),
)
