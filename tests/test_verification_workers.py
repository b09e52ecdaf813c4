"""The guarded processes: limits hold, and they work wherever Python runs."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from polarity_lib.verification.mathematics import MathVerifier
from polarity_lib.verification.workers import WorkerPool

ROOT = Path(__file__).parents[1]
EASY = {"judge": "first", "gold": "(x+1)^2", "answer": "x^2+2x+1"}
ENDLESS = {"judge": "first", "gold": "5", "answer": "((9!)!)!"}
GREEDY = {"judge": "first", "gold": "5", "answer": "\\binom{10^{9}}{10^8}"}


@pytest.fixture(scope="module")
def pool():
    pool = WorkerPool(workers=1, timeout_s=1.0, memory_mb=768)
    pool.run([EASY])
    yield pool
    pool.close()


def test_results_come_in_the_order_of_the_tasks(pool):
    wrong = EASY | {"answer": "x^2"}
    assert [reply["result"] for reply in pool.run([EASY, wrong, EASY])] == [True, False, True]


def test_a_task_that_takes_too_long_is_ended_and_the_next_one_served(pool):
    replies = pool.run([ENDLESS, EASY])
    assert replies[0] == {"limit": "took longer than 1 s"} and replies[1] == {"result": True}


def test_an_idle_process_that_was_killed_is_replaced(pool):
    pool.run([EASY])
    pool.workers[0].process.kill()
    pool.workers[0].process.wait()
    assert pool.run([EASY]) == [{"result": True}]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the address-space limit holds on Linux")
def test_memory_is_bounded_inside_the_process(pool):
    pool.run([EASY])
    status = Path(f"/proc/{pool.workers[0].process.pid}/limits").read_text()
    line = next(line for line in status.splitlines() if line.startswith("Max address space"))
    assert str(768 * 2**20) in line
    process = pool.workers[0].process
    reply = pool.run([GREEDY])[0]
    assert "limit" in reply or reply["result"] is False
    if process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmPeak"))
        assert peak_kb <= 768 * 1024


def test_closing_ends_the_processes_and_the_pool_still_works(pool):
    pool.run([EASY])
    process = pool.workers[0].process
    pool.close()
    assert process.poll() is not None
    assert pool.run([EASY]) == [{"result": True}]


def test_a_thread_and_an_event_loop_may_ask(pool):
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(pool.run([EASY])[0]["result"])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [True, True, True]

    async def inside():
        direct = pool.run([EASY])
        return direct, await asyncio.to_thread(pool.run, [EASY])

    assert asyncio.run(inside()) == ([{"result": True}], [{"result": True}])


def test_signal_handlers_and_alarms_of_the_caller_stay(pool):
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    try:
        handlers = {s: signal.getsignal(s) for s in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)}
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        pool.run([ENDLESS])
        assert rung == [True], "the alarm of the caller still rings, once"
        assert {s: signal.getsignal(s) for s in handlers} == handlers
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_it_works_in_a_script_without_a_main_guard_and_leaves_nothing_behind(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from polarity_lib.verification import verify_math\n"
        "from polarity_lib.verification.mathematics import shared_verifier\n"
        "print(verify_math(['(x+1)^2'], ['\\\\boxed{x^2+2x+1}'])[0].label)\n"
        "print(shared_verifier().pool.workers[0].process.pid)\n"
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=120)
    label, pid = done.stdout.split()
    assert label == "correct" and done.returncode == 0, done.stderr
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_importing_the_package_brings_no_mathematics():
    code = "import sys, polarity_lib.verification as v; v.Verdict; print(sorted(sys.modules))"
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    loaded = done.stdout.strip()
    # torch brings sympy by itself; the math checker must not be there.
    assert "math_verify" not in loaded and "latex2sympy2_extended" not in loaded, done.stderr


def test_a_process_that_cannot_start_is_one_clear_sentence(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    broken = WorkerPool(workers=1, timeout_s=1.0, memory_mb=768)
    with pytest.raises(RuntimeError, match="is math-verify installed"):
        broken.run([EASY])


def test_leaving_the_context_ends_the_processes():
    with MathVerifier(workers=1) as verifier:
        verifier.verify(["(x+1)^2"], ["\\boxed{x^2+2x+1}"])
        process = verifier.pool.workers[0].process
    assert process.poll() is not None


# ------------------------------------------------------------------ what a host may do


def _in_a_fork(action):
    """Run `action` in a forked child; its exit status, or a failure when it hangs for 60 seconds."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if action() else 1)
        finally:
            os._exit(2)
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the forked child hangs")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_verifies_does_not_hang_and_leaves_the_parent_unharmed():
    with MathVerifier(timeout_s=2.0, workers=1) as verifier:
        verifier.verify(["(x+1)^2"], ["\\boxed{x^2+2x+1}"])
        pool, found = verifier.pool, []
        thread = threading.Thread(target=lambda: found.append(pool.run([ENDLESS, EASY])))
        thread.start()
        time.sleep(0.3)
        assert pool._lock.locked()  # the worst moment
        right = _in_a_fork(lambda: verifier.verify(["(x+2)^2"], ["\\boxed{x^2+4x+4}"])[0].is_correct)
        thread.join()
        assert right == 0
        assert found == [[{"limit": "took longer than 2 s"}, {"result": True}]]


def test_a_worker_killed_while_it_starts_is_replaced():
    fresh = WorkerPool(workers=1, timeout_s=2.0, memory_mb=768)
    start, started = fresh._start, []

    def killed_at_first():
        started.append(start())
        if len(started) == 1:
            started[0].process.kill()
        return started[-1]

    fresh._start = killed_at_first
    assert fresh.run([EASY]) == [{"result": True}] and len(started) == 2
    fresh.close()


def _signal_when_busy(pool, number, times):
    """Send a signal to the busy worker, the first `times` workers that are seen."""

    def send():
        seen = set()
        limit = time.monotonic() + 60
        while len(seen) < times and time.monotonic() < limit:
            for worker in list(pool.workers):
                if worker.task is not None and worker.process.pid not in seen:
                    seen.add(worker.process.pid)
                    worker.process.send_signal(number)
            time.sleep(0.01)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_the_task_of_a_killed_worker_is_tried_once_more_then_lost_with_the_cause():
    fresh = WorkerPool(workers=1, timeout_s=2.0, memory_mb=768)
    fresh.run([EASY])
    once = _signal_when_busy(fresh, signal.SIGKILL, times=1)
    assert fresh.run([ENDLESS, EASY]) == [{"limit": "took longer than 2 s"}, {"result": True}]
    once.join()
    twice = _signal_when_busy(fresh, signal.SIGKILL, times=2)
    replies = fresh.run([ENDLESS, EASY])
    twice.join()
    assert replies == [{"limit": "lost: the checking process was ended by SIGKILL, 2 times"}, {"result": True}]
    fresh.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the state of a process is read from /proc")
def test_a_stopped_worker_is_noticed_within_twice_the_limit():
    fresh = WorkerPool(workers=1, timeout_s=2.0, memory_mb=768)
    fresh.run([EASY])
    pid = fresh.workers[0].process.pid
    thread = _signal_when_busy(fresh, signal.SIGSTOP, times=1)
    clock, gone = time.monotonic(), []
    watcher = threading.Thread(target=lambda: gone.append(_when_gone(pid, clock)))
    watcher.start()
    replies = fresh.run([ENDLESS, EASY])
    thread.join(), watcher.join()
    assert gone[0] < 2 * 2.0
    assert replies == [{"limit": "took longer than 2 s"}, {"result": True}]
    fresh.close()


def _when_gone(pid, clock):
    while time.monotonic() - clock < 60:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.02)
    return time.monotonic() - clock


CHILD = """
import multiprocessing
from polarity_lib.verification import verify_math

def judge(_):
    return verify_math(["(x+1)^2"], ["\\\\boxed{x^2+2x+1}"])[0].label

if __name__ == "__main__":
    print(judge(0))
    for method in ("spawn", "fork"):
        with multiprocessing.get_context(method).Pool(1) as children:
            print(children.map(judge, [0]))
"""


def test_children_by_spawn_and_by_fork_verify_as_their_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(CHILD)
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout.split() == ["correct", "['correct']", "['correct']"], done.stderr


def test_an_interpreter_that_exits_in_the_middle_leaves_no_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, threading, time\n"
        "from polarity_lib.verification.workers import WorkerPool\n"
        "pool = WorkerPool(workers=1, timeout_s=30.0, memory_mb=768)\n"
        "pool.run([{'judge': 'first', 'gold': 'x+1', 'answer': '1+x'}])\n"
        "print(pool.workers[0].process.pid, flush=True)\n"
        "task = {'judge': 'first', 'gold': '5', 'answer': '((9!)!)!'}\n"
        "threading.Thread(target=pool.run, args=([task],), daemon=True).start()\n"
        "time.sleep(0.5)\n"
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert _when_gone(int(done.stdout), time.monotonic()) < 5


CELLS = """
from polarity_lib.verification import verify_math
from polarity_lib.verification.mathematics import shared_verifier
print(verify_math(["(x+1)^2", "5"], ["\\\\boxed{x^2+2x+1}", "\\\\boxed{((9!)!)!}"], timeout_s=1.0)[0].label)
""", """
import asyncio
print(await asyncio.to_thread(lambda: verify_math(["(x+2)^2"], ["\\\\boxed{x^2+4x+4}"], timeout_s=1.0)[0].label))
print(shared_verifier(1.0).pool.workers[0].process.pid)
"""


def test_a_jupyter_kernel_verifies_in_a_cell_and_leaves_no_process_when_it_ends():
    manager = pytest.importorskip("jupyter_client").manager
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    kernel, client = manager.start_new_kernel(startup_timeout=120, kernel_name="python3", env=environment)
    printed, errors = [], []

    def hear(message):
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])
        elif message["msg_type"] == "error":
            errors.append(message["content"]["evalue"])

    try:
        for cell in CELLS:
            client.execute_interactive(cell, timeout=120, output_hook=hear)
    finally:
        client.stop_channels()
        kernel.shutdown_kernel()
    assert errors == []
    first, second, pid = "".join(printed).split()
    assert (first, second) == ("correct", "correct")
    assert _when_gone(int(pid), time.monotonic()) < 20
