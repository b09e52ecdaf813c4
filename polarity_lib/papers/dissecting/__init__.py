"""Dissecting long reasoning: roles of polarity, dead groups, uncertain problems (arXiv 2506.04913).

    methods.py      schedules of polarity, the relative length reward, offline sample injection
    length.py       the reward itself
    injection.py    which rows give way, to what, and the loss of an injected token
    starts.py       base policies by corpus: zero-RL, cold start, and a pair of equal accuracy
    experiments.py  which arms, from which starts, how many seeds
    probes.py       out of distribution, under attack, greedy against sampled, many right ways: of a finished run
    stability.py    recorded verdicts: uncertain problems, spread, flips, how many runs a ranking needs; also a reader's own table
    dead_groups.py  how many groups teach nothing, measured and predicted
    theory.py       the two polarities on a distribution with several right answers, exactly
    claims.py       C1 to C14: the rule of each, its primary sub-tests
    figures.py      tables to figures, notebooks 20 to 23
"""

from polarity_lib.papers import Paper

PAPER = Paper(
    title="Dissecting",
    arxiv="2506.04913",
    about="Right answers make a policy fit its training problems, wrong ones make it general and robust; whether wrong ones "
          "suffice depends on where RL starts. Half of the groups teach nothing, and scores change from run to run because of "
          "problems that are neither solved nor unsolved.",
    notebooks=("20", "21", "22", "23"),
)
