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
    pool._state.workers[0].process.kill()
    pool._state.workers[0].process.wait()
    assert pool.run([EASY]) == [{"result": True}]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the address-space limit holds on Linux")
def test_memory_is_bounded_inside_the_process(pool):
    pool.run([EASY])
    status = Path(f"/proc/{pool._state.workers[0].process.pid}/limits").read_text()
    line = next(line for line in status.splitlines() if line.startswith("Max address space"))
    assert str(768 * 2**20) in line
    process = pool._state.workers[0].process
    reply = pool.run([GREEDY])[0]
    assert "limit" in reply or reply["result"] is False
    if process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmPeak"))
        assert peak_kb <= 768 * 1024


def test_closing_ends_the_processes_and_the_pool_still_works(pool):
    pool.run([EASY])
    process = pool._state.workers[0].process
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
        "print(shared_verifier().pool._state.workers[0].process.pid)\n"
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
        process = verifier.pool._state.workers[0].process
    assert process.poll() is not None
