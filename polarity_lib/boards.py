"""Metrics for TensorBoard beside the plain files, where somebody asks for it.

    POLARITY_TENSORBOARD=data/boards make study ONLY=10        then: tensorboard --logdir data/boards

The tables and metrics.jsonl of a run are what everything here reads; this is for watching alone.
"""

import contextlib
import math
from collections.abc import Callable, Iterator

from polarity_lib.config import ConfigError
from polarity_lib.results import place

VARIABLE = "POLARITY_TENSORBOARD"


def writer_class():
    """TensorBoard's own writer where a folder is named for it, else None.

    Raises:
        ConfigError: tensorboard is not installed.
    """
    if place(VARIABLE, None) is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(f"{VARIABLE} is set, but TensorBoard is not installed: pip install tensorboard, or unset it.") from None
    return SummaryWriter


@contextlib.contextmanager
def board(run: str) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """Something to call with a step and its metrics; it does nothing unless POLARITY_TENSORBOARD names a folder."""
    if (summary_writer := writer_class()) is None:
        yield lambda step, metrics: None
        return
    writer = summary_writer(place(VARIABLE, None) / run)

    def show(step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            if math.isfinite(value):
                writer.add_scalar(name, value, step)

    try:
        yield show
    finally:
        writer.close()
