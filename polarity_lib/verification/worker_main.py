"""What runs inside a guarded process: read a task, judge it, write the result.

Started as a program of its own by `workers.py`, never imported by the rest. It
talks JSON, one message per task and per result; nothing is unpickled on
either side. The memory limit is set before any mathematics is imported. A
kernel timer ends the process if its parent died and can no longer do so.
"""

import json
import signal
import sys
import types
from multiprocessing.connection import Connection
from pathlib import Path


def _import_without_the_package():
    """Make `polarity_lib.verification.symbolic` importable without running the packages' own
    imports: they may bring torch, which costs seconds and memory that this process does not need."""
    here = Path(__file__).resolve().parent
    for name, path in (("polarity_lib", here.parent), ("polarity_lib.verification", here)):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package


def _limit_memory(megabytes):
    try:
        import resource

        size = megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # no such limit on this system; the clock still holds


def _judges():
    from polarity_lib.verification.comparison import compare
    from polarity_lib.verification.symbolic import TooBig, formula_equal

    def first(gold, answer):
        try:
            return {"result": bool(compare(gold, answer, formula_equal))}
        except TooBig as error:
            return {"limit": str(error)}

    def alone(gold, response):
        from math_verify import parse, verify

        found = parse(response, parsing_timeout=None)
        right = verify(parse(f"\\boxed{{{gold}}}", parsing_timeout=None), found, timeout_seconds=None)
        return {"result": bool(right), "empty": not found}

    return {"first": first, "alone": alone}


def main():
    """Answer questions, one at a time, until the parent closes the connection."""
    connection, timeout_s, memory_mb = Connection(int(sys.argv[1])), float(sys.argv[2]), int(sys.argv[3])
    _limit_memory(memory_mb)
    _import_without_the_package()
    sys.setrecursionlimit(3_000)
    judges = _judges()
    reply = {"ready": True}
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while True:
        connection.send_bytes(json.dumps(reply).encode())
        if reply.get("leave"):
            return  # what it holds may be damaged: the parent starts another
        try:
            task = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        signal.setitimer(signal.ITIMER_REAL, 12 * timeout_s + 5)
        try:
            reply = judges[task["judge"]](task["gold"], task["answer"])
        except MemoryError:
            reply = {"limit": f"needed more than {memory_mb} MB", "leave": True}
        except RecursionError:
            reply = {"limit": "nested too deeply", "leave": True}
        except Exception as error:  # a text must never end the run: it is judged as not understood
            reply = {"result": False, "error": type(error).__name__}
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main()
