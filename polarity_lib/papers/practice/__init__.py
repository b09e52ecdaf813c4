"""Disputes from public threads: what people who train such models claim in issues and pull requests, and others doubt.

    losses.py, truncation.py  the options they propose, as pure functions
    methods.py                a method per option
    experiments.py            which arms, in which worlds, how many seeds
    probes.py                 how far a policy stands from its base
    threads.py                who says what, what would decide it, and the option's name in TRL and verl
    claims.py                 P1 to P11: the rule of each
    figures.py                tables to figures, notebooks 70 to 72
"""

from polarity_lib.papers import Paper

PAPER = Paper(
    title="Disputes from public threads",
    about="Effects that are claimed in the issues of RLVR-Decomposed, TRL, verl, NeMo-RL and others, and doubted there: the "
          "clip, denominators, dead groups, length, truncation, the choice of checkpoints. Facts and references; our own words.",
    notebooks=("70", "71", "72"),
)
