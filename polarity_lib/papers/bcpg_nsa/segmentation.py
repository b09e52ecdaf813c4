"""An answer cut into steps: pieces that a judge can call right or wrong, and that join to the answer exactly.

    line_steps      the answers of our chain worlds: an operation, a re-check, the final answer
    text_steps      real reasoning texts, by rules (`steps_text.py`)
    semantic_steps  real texts by a trained sentence splitter, where one is installed

The paper prefers a semantic splitter (Segment Any Text) to rules; its model size and threshold are unverified in our
card. In our worlds a line *is* a step.
"""

import functools
import re
from collections.abc import Callable

from polarity_lib.config import ConfigError
from polarity_lib.papers.bcpg_nsa.steps_text import split_steps

_CUT = re.compile(r"(?<=;)|(?=\?)|(?=#[^#]*$)")  # after an operation, before a re-check, before the final answer


@functools.lru_cache(maxsize=1 << 16)
def line_steps(text: str) -> tuple[str, ...]:
    """Steps of a chain answer: `3+5=8?3+5=8;8-2=6#6` is `3+5=8`, `?3+5=8;`, `8-2=6`, `#6`.

    The mark that opens a re-check belongs to it, since writing it is the decision to check; so does the `;` that ends a line.
    """
    return tuple(piece for piece in _CUT.split(text) if piece)


def text_steps(text: str, min_characters: int = 20) -> tuple[str, ...]:
    """Steps of a real reasoning text, by rules."""
    return tuple(split_steps(text, min_characters))


def semantic_steps(text: str, split: Callable[[str], list[str]] | None = None) -> tuple[str, ...]:
    """Steps of a real text by Segment Any Text (arXiv 2406.16678), as the paper cuts them.

    Args:
        split: a splitter of one text; None loads `wtpsplit.SaT("sat-3l-sm")`. Which model the paper used is unverified.

    Raises:
        ConfigError: no splitter is given or installed, or it altered the text.
    """
    if split is None:
        try:
            from wtpsplit import SaT
        except ImportError:
            raise ConfigError("The semantic splitter is not installed (pip install wtpsplit); "
                              "`text_steps` needs nothing.") from None
        split = _loaded(SaT)
    steps = tuple(split(text))
    if "".join(steps) != text:
        raise ConfigError("The splitter altered the text: its pieces do not join to it.")
    return tuple(step for step in steps if step)


@functools.cache
def _loaded(model_class):
    return model_class("sat-3l-sm").split


def spans(steps: tuple[str, ...]) -> list[tuple[int, int]]:
    """Where each step stands: (start, end) in characters of the joined text."""
    edges = [0]
    for step in steps:
        edges.append(edges[-1] + len(step))
    return list(zip(edges, edges[1:]))
