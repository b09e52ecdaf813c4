"""A3PO: more weight on unlikely tokens of right answers and likely tokens of wrong ones (arXiv 2512.21625).

    weights.py      token weights, pure: A3PO's, the four cells', the controls'
    methods.py      the methods made of them
    experiments.py  which arms, in which worlds, how many seeds
    probes.py       what finished runs are asked: hacking, shifted worlds, patterns, garbling
    claims.py       C1 to C14 and two of ours: the rule of each
    figures.py      tables to figures, notebooks 30 to 33
    theory.py       what one update does to entropy, and to two parameters
"""

from polarity_lib.papers import Paper

PAPER = Paper(
    title="A3PO",
    arxiv="2512.21625",
    about="What right and wrong answers do on their own, weights of whole polarities and of single tokens, and a method made of "
          "them: extra weight, decaying to one, where it keeps entropy up.",
    notebooks=("30", "31", "32", "33"),
)
