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
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen
    deadline: float
    task: int | None = None
    ready: bool = False
    buffer: bytes = b""
    latest: float = 0.0
    used_before: float | None = None

    def owed(self, timeout_s):
        """Seconds of processor time that the running task has not had yet; 0 where the system does not tell."""
        used = _stat(self.process.pid)[1]
        if used is None or self.used_before is None or time.monotonic() >= self.latest:
            return 0.0
        return max(0.0, timeout_s - (used - self.used_before))

    def how_it_ended(self):
        """An exit status in words."""
        code = self.process.returncode
        if code is None or code >= 0:
            return f"left with status {code}"
        names = {int(number): number.name for number in signal.Signals}
        return f"was ended by {names.get(-code, f'signal {-code}')}"

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(OSError):  # what was left to be written has no reader any more
            self.process.stdin.close()


@dataclass
class _State:
    """What must be cleaned up even when the pool itself is gone."""

    workers: list = field(default_factory=list)
    owner: int = field(default_factory=os.getpid)

    def stop_all(self):
        if self.owner == os.getpid():
            for worker in self.workers:
                worker.stop()
        self.workers.clear()


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
        self._state = _State()
        weakref.finalize(self, self._state.stop_all)
        _pools.add(self)

    def after_fork(self):
        """In a forked child: another thread may have held the lock, and the processes are the parent's."""
        self._lock = threading.Lock()
        for worker in self._state.workers:  # our copies of its pipes would keep them open
            worker.process.stdout.close()
            worker.process.stdin.raw.close()  # without flushing what the parent had begun to write
            worker.process.returncode = 0  # not our child: never waited for
        self._state.workers.clear()
        self._state.owner = os.getpid()

    def run(self, tasks: list[dict]) -> list[dict]:
        """Judge every task; results in the order of the tasks.

        A result is {"result": bool}, or {"limit": why} where a limit ended it.

        Raises:
            RuntimeError: the processes cannot start, usually because math-verify is not installed.
        """
        if not tasks:
            return []
        with self._lock:
            try:
                return self._run(tasks)
            except BaseException:
                self._state.stop_all()
                raise

    def close(self):
        """End all processes. The pool can be used again; it then starts new ones."""
        with self._lock:
            self._state.stop_all()

    # ---------------------------------------------------------------- the loop

    def _run(self, tasks):
        results = [None] * len(tasks)
        waiting = self._waiting = deque(range(len(tasks)))
        self._lost, self._failed_starts = {}, 0
        with selectors.DefaultSelector() as selector:
            for worker in self._state.workers:
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            while None in results:
                self._hand_out(tasks, waiting, selector)
                busy = [worker.deadline for worker in self._state.workers if not worker.ready or worker.task is not None]
                nearest = min(busy, default=0.0)
                for key, _events in selector.select(max(0.0, nearest - time.monotonic())):
                    self._receive(key.data, results, selector)
                self._enforce(results, selector)
        return results

    def _hand_out(self, tasks, waiting, selector):
        busy = sum(worker.task is not None for worker in self._state.workers)
        wanted = min(self.size, busy + 1 + (len(waiting) - 1) // 4) if waiting else 0
        while len(self._state.workers) < wanted:
            worker = self._start()
            self._state.workers.append(worker)
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
        for worker in self._state.workers:
            if waiting and worker.ready and worker.task is None:
                worker.task = waiting.popleft()
                worker.deadline = time.monotonic() + self.timeout_s
                worker.latest = time.monotonic() + PATIENCE * self.timeout_s
                worker.used_before = _stat(worker.process.pid)[1]
                try:
                    worker.process.stdin.write(json.dumps(tasks[worker.task]).encode() + b"\n")
                    worker.process.stdin.flush()
                except OSError:
                    waiting.appendleft(worker.task)  # it ended while idle: nothing was lost, `_enforce` removes it
                    worker.task, worker.deadline = None, 0.0

    def _start(self):
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="0")
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        program = Path(__file__).with_name("worker_main.py")
        process = subprocess.Popen(
            [sys.executable, str(program), str(self.timeout_s), str(self.memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        return _Worker(process, time.monotonic() + STARTUP_S)

    def _drop(self, worker, selector):
        selector.unregister(worker.process.stdout)
        worker.stop()
        self._state.workers.remove(worker)

    def _receive(self, worker, results, selector):
        chunk = os.read(worker.process.stdout.fileno(), 65_536)
        worker.buffer += chunk
        if not chunk:
            self._ended(worker, results, selector)
        elif worker.buffer.endswith(b"\n"):
            reply, worker.buffer = json.loads(worker.buffer), b""
            if reply.get("ready"):
                worker.ready, self._failed_starts = True, 0
                return
            results[worker.task], worker.task = reply, None
            if reply.get("leave"):
                self._drop(worker, selector)

    def _ended(self, worker, results, selector):
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(timeout=1.0)  # its own end, not the one that `_drop` makes
        self._drop(worker, selector)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise RuntimeError(
                    "the guarded processes that check mathematics do not start: "
                    f"is math-verify installed in this environment, and memory_mb at least 512? ({worker.how_it_ended()})"
                )
        elif worker.task is not None:
            self._lost[worker.task] = self._lost.get(worker.task, 0) + 1
            if self._lost[worker.task] < TRIES:
                self._waiting.appendleft(worker.task)
            else:
                results[worker.task] = {"limit": f"lost: the checking process {worker.how_it_ended()}, {TRIES} times"}

    def _enforce(self, results, selector):
        now = time.monotonic()
        for worker in list(self._state.workers):
            if worker.deadline > now or (worker.ready and worker.task is None and worker.deadline > 0.0):
                continue
            if worker.ready and worker.task is not None and (owed := worker.owed(self.timeout_s)) > 0.02:
                if _stat(worker.process.pid)[0] in ("T", "t"):  # stopped by a signal: it will never get what it is owed
                    worker.process.kill()
                    continue  # reading its end tries the task again
                worker.deadline = min(now + max(owed, 0.05), worker.latest)
                continue
            self._drop(worker, selector)
            if not worker.ready:
                raise RuntimeError(f"a guarded process did not start within {STARTUP_S:.0f} s")
            if worker.task is not None:
                results[worker.task] = {"limit": f"took longer than {self.timeout_s:g} s"}
