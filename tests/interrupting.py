"""Stopping a run as a person does, after a batch."""

from collections.abc import Callable


def stopped_after(step: int) -> Callable:
    """A `watch` of `train` that interrupts it when so many batches are done; a checkpoint due there has been written."""

    def watch(done: int, steps: int, left: float) -> None:
        if done == step:
            raise KeyboardInterrupt

    return watch
