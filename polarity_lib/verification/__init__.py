"""From responses to verdicts.

    verdicts.py       the record every checker returns
    worlds.py         exact checkers and step labels of the tiny worlds
    second_worlds.py  an independent second checker for them
    mathematics.py    real mathematics: the entry
      answers.py        which text of a response is its final answer
      surroundings.py   what stands at a box and changes its value
      units.py          which words behind a number are a unit
      exact.py          reading an answer exactly; comparison.py: what equals what
      symbolic.py       formulas, by Math-Verify and sympy; workers.py: the guarded processes they run in
    second_opinion.py Math-Verify alone as a witness, and where the two differ

Importing this package needs none of the mathematics libraries: `verify_math`
and its relatives are imported when they are first asked for.
"""

from importlib import import_module

from .verdicts import LABELS, Verdict, count_labels
from .worlds import label_steps, place_steps, verify

_LAZY = {
    "verify_math": ".mathematics",
    "MathVerifier": ".mathematics",
    "disagreement": ".second_opinion",
}

__all__ = ["LABELS", "Verdict", "count_labels", "label_steps", "place_steps", "verify", *_LAZY]


def __getattr__(name):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
