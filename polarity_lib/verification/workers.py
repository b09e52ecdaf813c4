"""Guarded processes: every task has a limit of time and memory, and none can outlive it.

The processes are programs of their own, started with `subprocess`, so the pool
works wherever Python runs: main thread, threads, asyncio, a Jupyter kernel, papermill,
scripts without a `__main__` guard. The caller's signal handlers are neither used nor
touched. The parent keeps the time and kills what exceeds it; the memory limit is
set inside the process (`RLIMIT_AS`: on Linux; elsewhere the clock alone guards).

Kept as our own, because no pool that we know has a limit per task which a busy machine cannot trip: those of
`concurrent.futures` and pebble count the clock alone.

A verdict must not depend on how busy the machine is. So a task whose time is up is ended only if
it has really had that much of a processor; else it gets what it is owed, up to `PATIENCE` times
the limit on the clock. On an idle machine the two are the same.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from multiprocessing import Pipe
from pathlib import Path

STARTUP_S = 300.0  # a loaded machine may need long to import sympy
STARTS = 3  # processes in a row that may end while they start
TRIES = 2  # of a task whose process was lost
PATIENCE = 10


def _stat(pid):
    """State letter and processor seconds used so far of a process; (None, None) where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None, None


class _Worker:
    """One guarded process, asked one task at a time."""

    def __init__(self, timeout_s, memory_mb):
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="0")
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        program = Path(__file__).with_name("worker_main.py")
        self.connection, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, str(program), str(theirs.fileno()), str(timeout_s), str(memory_mb)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.timeout_s, self.task = timeout_s, None
        weakref.finalize(self, _end, self.process, os.getpid())  # also when the interpreter exits

    def reply(self, deadline):
        """What the process says next; {} where it has ended, None where the time is up."""
        try:
            if not self.connection.poll(max(0.0, deadline - time.monotonic())):
                return None
            return json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            return {}

    def judge(self, task):
        """The reply to a task; {} where the process was lost. Beyond its limit the process must be left."""
        start, used_before = time.monotonic(), _stat(self.process.pid)[1]
        deadline, latest = start + self.timeout_s, start + PATIENCE * self.timeout_s
        with contextlib.suppress(OSError):  # it has ended, as its reply will say
            self.connection.send_bytes(json.dumps(task).encode())
        while (reply := self.reply(deadline)) is None:
            state, used = _stat(self.process.pid)
            told = used is not None and used_before is not None and time.monotonic() < latest
            owed = self.timeout_s - (used - used_before) if told else 0.0
            if owed <= 0.02:
                return {"limit": f"took longer than {self.timeout_s:g} s", "leave": True}
            if state in ("T", "t"):  # stopped by a signal: it will never get what it is owed
                self.process.kill()
            deadline = min(time.monotonic() + max(owed, 0.05), latest)
        return reply

    def how_it_ended(self):
        """An exit status in words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=1.0)  # its own end, not the one that `stop` makes
        code = self.process.returncode
        if code is None or code >= 0:
            return f"left with status {code}"
        names = {int(number): number.name for number in signal.Signals}
        return f"was ended by {names.get(-code, f'signal {-code}')}"

    def stop(self):
        _end(self.process, os.getpid())
        self.connection.close()


def _end(process, owner):
    """End a process, unless it is the child of a process that this one was forked from."""
    if owner == os.getpid():
        process.kill()
        process.wait()


_pools = weakref.WeakSet()


def _in_child():
    for pool in list(_pools):
        pool.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class WorkerPool:
    """A few guarded processes and a queue.

    Args:
        workers: how many processes at most; they start when there is work for them.
        timeout_s: limit of one task in seconds, on the clock (see above for a busy machine).
        memory_mb: limit of address space of one process, in MB.

    A pool may be used from several threads; their batches take turns. After a fork the child starts
    processes of its own.
    """

    def __init__(self, workers: int, timeout_s: float, memory_mb: int):
        self.size, self.timeout_s, self.memory_mb = workers, timeout_s, memory_mb
        self._lock = threading.Lock()
        self.workers = []
        _pools.add(self)

    def after_fork(self):
        """In a forked child: another thread may have held the lock, and the processes are the parent's."""
        self._lock = threading.Lock()
        for worker in self.workers:
            worker.connection.close()  # our copy would keep it open
            worker.process.returncode = 0  # not our child: never waited for
        self.workers.clear()

    def run(self, tasks: list[dict]) -> list[dict]:
        """Judge every task; results in the order of the tasks.

        A result is {"result": bool}, or {"limit": why} where a limit ended it.

        Raises:
            RuntimeError: the processes cannot start, usually because math-verify is not installed.
        """
        results, errors = [None] * len(tasks), []
        waiting = enumerate(tasks)  # the shares draw from it in turn
        with self._lock:
            shares = [
                threading.Thread(target=self._serve, args=(worker, waiting, results, errors), daemon=True)
                for worker in (self.workers + [None] * self.size)[: min(self.size, (len(tasks) + 3) // 4)]
            ]
            try:
                for share in shares:
                    share.start()
                for share in shares:
                    share.join()
                if errors:
                    raise errors[0]
            except BaseException:
                deque(waiting, maxlen=0)  # nothing is left to draw
                self._stop_all()
                raise
        return results

    def close(self):
        """End all processes. The pool can be used again; it then starts new ones."""
        with self._lock:
            self._stop_all()

    def _stop_all(self):
        while self.workers:
            self.workers.pop().stop()

    def _serve(self, worker, waiting, results, errors):
        """Judge waiting tasks, one after the other, with one process; a lost task is tried again on a fresh one."""
        try:
            for index, task in waiting:
                for _try in range(TRIES):
                    worker = self._ready(worker)
                    worker.task = index
                    reply = worker.judge(task)
                    worker.task = None
                    results[index] = reply or {"limit": f"lost: the checking process {worker.how_it_ended()}, {TRIES} times"}
                    if not reply or reply.pop("leave", False):
                        worker = self._drop(worker)
                    if reply:
                        break
        except BaseException as error:
            errors.append(error)

    def _ready(self, worker):
        """This process, or a new one that has started where there is none or it ended while idle."""
        if worker is not None and worker.process.poll() is None:
            return worker
        if worker is not None:
            self._drop(worker)
        for _start in range(STARTS):
            worker = self._start()
            self.workers.append(worker)
            ready = worker.reply(time.monotonic() + STARTUP_S)
            if ready:
                return worker
            how = "is too slow" if ready is None else worker.how_it_ended()
            self._drop(worker)
        raise RuntimeError(
            "the guarded processes that check mathematics do not start: "
            f"is math-verify installed in this environment, and memory_mb at least 512? (the last one {how})"
        )

    def _start(self):
        return _Worker(self.timeout_s, self.memory_mb)

    def _drop(self, worker):
        worker.stop()
        self.workers.remove(worker)
