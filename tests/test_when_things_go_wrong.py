"""Rows of docs/when_things_go_wrong.md that no other test holds, and that every row names tests that are there."""

import re
import socket

import pandas as pd
import torch

from polarity_lib import experiments, pretraining
from polarity_lib.config import StartConfig
from polarity_lib.experiments import Arm, train_or_load
from polarity_lib.results import ROOT, RunFolder, runs_root

SHORT = StartConfig("countdown", "smoke", steps=2, seed=0, batch=4)


def test_every_row_names_tests_that_are_there():
    page = ROOT / "docs" / "when_things_go_wrong.md"
    rows = [line for line in page.read_text(encoding="utf-8").split("\n") if line.startswith("| ")][1:]
    assert len(rows) >= 10
    for row in rows:
        files = re.findall(r"\]\((\.\./tests/[^)]+)\)", row)
        assert files and all((page.parent / file).resolve().exists() for file in files), row


def test_moved_runs_load_from_their_new_place(configure, tmp_path, monkeypatch):
    arm = Arm("test", "arm", configure(start=SHORT, steps=1), "smoke")
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path / "here"))
    before = train_or_load([arm], reuse_published=False, progress=False)
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path / "there"))
    monkeypatch.setattr(experiments, "train", None)  # nothing is computed
    pd.testing.assert_frame_equal(train_or_load([arm], reuse_published=False, progress=False).metrics, before.metrics)
    assert str(tmp_path / "here") not in (runs_root() / arm.config.name / "record.json").read_text(encoding="utf-8")


def test_a_run_needs_no_network(configure, own_runs, monkeypatch):
    asked = []

    def refuse(*args):
        asked.append(args)  # whoever asks may swallow the error
        raise OSError("no network")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    train_or_load([Arm("test", "arm", configure(start=SHORT, steps=1), "smoke")], reuse_published=False, progress=False)
    assert not asked


def test_a_base_policy_is_made_on_one_thread_whoever_asks(tmp_path, monkeypatch):
    seen, make = [], pretraining.warm_start
    monkeypatch.setattr(pretraining, "warm_start", lambda *args: seen.append(torch.get_num_threads()) or make(*args))
    torch.set_num_threads(2)
    try:
        pretraining.base_policy(SHORT, root=tmp_path)
        assert seen == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_an_interrupted_run_of_an_edited_method_says_so(configure, own_runs, monkeypatch, capsys):
    config = configure(start=SHORT)
    arm = Arm("test", "arm", config, "smoke")

    class Stop(Exception):
        pass

    def stop(step, steps, left):
        if step == 3:
            raise Stop

    folder = RunFolder(config.name, config.identity)
    try:
        with folder.lock():
            experiments.train(config, folder, device="cpu", watch=stop)
    except Stop:
        pass
    kept = folder.record()
    folder.begin(kept | {"method_digest": "code-0123456789"})
    train_or_load([arm], reuse_published=False, progress=False)
    said = capsys.readouterr().err
    assert "continues at step 2 of 4" in said and f"To begin anew, delete {folder.path}" in said
    assert folder.record()["method_digest"] == "code-0123456789"  # what began it
