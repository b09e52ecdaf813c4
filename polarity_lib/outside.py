"""Where the library meets people, machines and other programs: errors of one line, cores, strict JSON."""

import json
import math
import os
import sys
from collections.abc import Callable


class Told(Exception):
    """An error whose message is one line for a person, who can do something about it; `status` is a command's exit status."""

    status = 1


def first_line(error: BaseException) -> str:
    """What an error says first, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def end_in_one_line(command: Callable[..., int | None], *args) -> int:
    """Run a command; what a person or a machine did wrong becomes one line on stderr and an exit status.

    Every command line of this project ends here, so each says the same things in the same way.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 shows ? and stops nothing
    try:
        status = command(*args) or 0
        sys.stdout.flush()
        return status
    except Told as error:
        line, status = f"error: {error}", error.status
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a file that nobody expected to fail; one without a file is a fault of ours
        if error.filename is None:
            raise
        line, status = f"error: {os.fspath(error.filename)}: {error.strerror}", 1
    except KeyboardInterrupt:
        line, status = "interrupted; the same command continues from here", 130
    print(line, file=sys.stderr, flush=True)
    return status


def plain(value):
    """numpy and torch numbers as Python's own; NaN and infinities as null, which JSON has no word for."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):  # numpy and torch, scalars and arrays alike
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def strict_json(value, **options) -> str:
    """JSON that every program reads: a number that is not finite is null. Options are those of json.dumps."""
    return json.dumps(plain(value), allow_nan=False, **options)


def cores_allowed() -> int:
    """How many cores this job may use, which on a shared machine are fewer than it has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
