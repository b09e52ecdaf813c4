"""How rare may the good way of working be, and still be found? (Ours; notebook 60.)

    watches.py      what every batch shows of the two ways of working
    probes.py       how rare and how accurate the rare way is before training
    experiments.py  the dial (how rare) and which methods at which level
    clock.py        the time to discovery, with censoring; the rules that judge it
    theory.py       the map of methods, and the signal that a rare way gives, by arithmetic
    claims.py       what the papers' claims about exploration, diversity and dead groups say on the clock
    figures.py      tables to figures
"""

from polarity_lib.papers import Paper

PAPER = Paper(
    title="Discovery",
    about="In world latent the share of worked texts in the base's last phase is a dial: how rare may the accurate way of "
          "working be and still be found? The clock is the time until half of the answers are worked, censored at the "
          "horizon. It tells methods apart that end at the same accuracy.",
    notebooks=("60",),
)
