"""kill -9 a real run at several moments, start it again, and compare every table with an uninterrupted one."""

import json
import multiprocessing
import os
import signal
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest

from polarity_lib import results
from polarity_lib.experiments import experiment, train_or_load
from polarity_lib.results import RunFolder
from test_training import assert_identical

pytestmark = pytest.mark.slow

ARMS = ("psr_nsr_search", "nsr,psr", "smoke", 1)
# A fresh interpreter imports the library once and every run below is forked from it.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["polarity_lib.experiments"])


def study(root: str, die_at: str = "", time: int = 1) -> None:
    """What a process does: the two runs. It may kill itself in the middle of a file, the n-th time it is written."""
    os.environ["POLARITY_RUNS"] = root
    sys.stderr = open(Path(root).with_suffix(f".{os.getpid()}.said"), "w")
    real, met = os.replace, []

    def replace(part, path):
        if fnmatch(f"{Path(path).parent.name}/{Path(path).name}", die_at):
            met.append(path)
            if len(met) == time:  # the file has its bytes but not yet its name
                os.kill(os.getpid(), signal.SIGKILL)
        real(part, path)

    results.os.replace = replace
    train_or_load(experiment(*ARMS), reuse_published=False)


def start(root, *dying):
    process = processes.Process(target=study, args=(str(root), *dying))
    process.start()
    return process


def said(root) -> str:
    return "".join(file.read_text() for file in sorted(root.parent.glob(f"{root.name}.*.said")))


def tables(root):
    return {arm.name: RunFolder(arm.config.name, arm.config.identity, root).load() for arm in experiment(*ARMS)}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    root = tmp_path_factory.mktemp("uninterrupted") / "runs"
    process = start(root)
    process.join()
    assert process.exitcode == 0
    return tables(root)


def test_a_killed_study_ends_with_the_same_tables(uninterrupted, tmp_path):
    root = tmp_path / "runs"
    deaths = ("*/weights.pt",), ("*-nsr-*/checkpoint.pt", 2), ("*-nsr-*/problems.parquet",), ("*-nsr-*/done.json",)
    for dying in deaths:
        process = start(root, *dying)
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert "continues at step 2 of 4" in said(root) and "continues at step 4 of 4" in said(root)
    # The second arm is killed from outside, at no moment in particular, as soon as it has a checkpoint.
    checkpoint = root / experiment(*ARMS)[1].config.name / "checkpoint.pt"
    process = start(root)
    while process.is_alive() and not checkpoint.exists():
        time.sleep(0.001)
    process.kill()
    process.join()
    process = start(root)
    process.join()
    assert process.exitcode == 0
    for arm, whole in uninterrupted.items():
        assert_identical(tables(root)[arm], whole)
    assert "damaged" not in said(root)


def test_of_two_processes_one_computes_and_the_other_loads(uninterrupted, tmp_path):
    root = tmp_path / "runs"
    both = [start(root), start(root)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert "another process computes this run; waiting for it" in said(root)
    for arm in experiment(*ARMS):
        lines = (root / arm.config.name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3]  # each step was computed once
        assert_identical(tables(root)[arm.name], uninterrupted[arm.name])
