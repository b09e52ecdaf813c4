"""Files are whole or absent, damage is noticed, and one of two processes waits."""

import errno
import fcntl
import json
import os
import threading

import pandas as pd
import pytest
import torch

from polarity_lib import results
from polarity_lib.config import StartConfig
from polarity_lib.experiments import Arm, train_or_load
from polarity_lib.results import (
    Damaged, RunFolder, StorageError, load_tensors, read_lines, runs_root, save_tensors, without_timings, write_atomic,
)  # fmt: skip
from polarity_lib.study import plan

SHORT = StartConfig("countdown", "smoke", steps=2, seed=0, batch=4)  # a base policy in an instant
TABLES = {"metrics": pd.DataFrame({"step": [0, 1], "metric": ["a", "timing.b"], "value": [0.5, 1.5]})}


def fail_with(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


# ---------------------------------------------------------------- a disk that refuses


@pytest.mark.parametrize(("number", "words"), [
    (errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota"), (errno.EACCES, "permission was denied"),
    (errno.EROFS, "read-only"),
])  # fmt: skip
@pytest.mark.parametrize("place", ["fsync", "open", "replace"])
def test_a_refused_write_says_so_and_leaves_the_old_file(number, words, place, tmp_path, monkeypatch):
    file = tmp_path / "table"
    write_atomic(file, b"old")
    with monkeypatch.context() as patch:
        where = results if place == "open" else results.os
        patch.setattr(where, place, fail_with(number), raising=False)
        with pytest.raises(StorageError) as refusal:
            write_atomic(file, b"new")
    assert words in str(refusal.value) and str(file) in str(refusal.value) and "\n" not in str(refusal.value)
    assert os.listdir(tmp_path) == ["table"] and file.read_bytes() == b"old"
    write_atomic(file, b"new")
    assert file.read_bytes() == b"new"


def test_a_file_where_a_folder_should_be_is_one_clear_line(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(StorageError, match="not a folder"):
        with RunFolder("run", {}, tmp_path / "runs").lock():
            pass


def test_an_error_that_is_not_the_disks_keeps_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(results.os, "fsync", fail_with(errno.EINTR))
    with pytest.raises(InterruptedError):
        write_atomic(tmp_path / "table", b"")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_stops_a_run_which_then_continues(configure, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path))
    arm = Arm("test", "arm", configure(start=SHORT), "smoke")
    writes, real = [], os.fsync

    def fill_up(descriptor):  # base policy's three, config, record and first checkpoint fit; the second does not
        writes.append(descriptor)
        if len(writes) == 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(results.os, "fsync", fill_up)
        with pytest.raises(StorageError, match="checkpoint.pt: the disk is full"):
            train_or_load([arm], reuse_published=False)
    assert not list(tmp_path.rglob("*.part"))
    train_or_load([arm], reuse_published=False)
    assert "continues at step 2 of 4" in capsys.readouterr().err


# ---------------------------------------------------------------- damage


def test_tensors_come_back_or_are_reported(tmp_path):
    file = tmp_path / "state.pt"
    save_tensors(file, {"step": 3, "weights": torch.arange(4)})
    assert load_tensors(file)["weights"].tolist() == [0, 1, 2, 3]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Damaged, match="checksum"):
        load_tensors(file)


def test_a_damaged_checkpoint_is_said_and_put_aside(tmp_path, capsys):
    folder = RunFolder("run", {}, tmp_path)
    assert folder.load_checkpoint() is None
    folder.save_checkpoint({"step": 2})
    assert folder.load_checkpoint() == {"step": 2}
    (folder.path / "checkpoint.pt").write_bytes(b"half")
    assert folder.load_checkpoint() is None
    assert "starts again from its beginning" in capsys.readouterr().err
    assert not (folder.path / "checkpoint.pt").exists()


def test_finished_tables_come_back(tmp_path):
    folder = RunFolder("run", {"seed": 1}, tmp_path)
    assert folder.load() is None
    folder.save_checkpoint({})
    folder.finish(TABLES)
    pd.testing.assert_frame_equal(folder.load()["metrics"], TABLES["metrics"])
    assert not (folder.path / "checkpoint.pt").exists()
    assert without_timings(folder.load()["metrics"]).metric.tolist() == ["a"]


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(("file", "damage"), [
    ("metrics.parquet", cut), ("metrics.parquet", flip), ("problems.parquet", os.remove),
    ("done.json", cut), ("done.json", lambda file: file.write_text("[]")),
    ("done.json", lambda file: file.write_bytes(b"\xff")),
    ("done.json", lambda file: file.write_text('{"files": []}')),
    ("done.json", lambda file: file.write_text('{"files": null}')),
    ("done.json", lambda file: file.write_text('{"files": {}}')), ("done.json", lambda file: file.write_text('{"files": [1]}')),
])  # fmt: skip
def test_a_damaged_run_is_said_and_alone_redone(file, damage, configure, capsys):
    arms = [Arm("test", m, configure(m, start=SHORT, steps=2), "smoke") for m in ("nsr", "reinforce")]
    before = train_or_load(arms, reuse_published=False)
    folders = [runs_root() / arm.config.name for arm in arms]
    untouched = (folders[1] / "done.json").stat().st_mtime_ns
    capsys.readouterr()
    damage(folders[0] / file)
    after = train_or_load(arms, reuse_published=False)
    said = capsys.readouterr().err
    assert f"{arms[0].config.name}: " in said and "this run alone is redone" in said and arms[1].config.name not in said
    assert (folders[1] / "done.json").stat().st_mtime_ns == untouched
    pd.testing.assert_frame_equal(without_timings(after.metrics), without_timings(before.metrics), check_exact=True)
    pd.testing.assert_frame_equal(after.problems, before.problems, check_exact=True)


def test_live_metrics_are_strict_json_that_readers_take(tmp_path):
    folder = RunFolder("run", {}, tmp_path)
    folder.path.mkdir()
    folder.watch({"step": 0, "value": float("nan")})
    folder.watch({"step": 1, "value": float("-inf")})
    lines = (folder.path / "metrics.jsonl").read_text(encoding="utf-8").strip().split("\n")
    assert [json.loads(line) for line in lines] == [{"step": 0, "value": None}, {"step": 1, "value": None}]
    assert pd.read_json(folder.path / "metrics.jsonl", lines=True).value.isna().all()
    assert plan._steps_behind(folder.path, 4) == 0.5


# ---------------------------------------------------------------- the lock


def test_what_a_killed_holder_left_half_written_is_swept_up(tmp_path):
    folder = RunFolder("run", {}, tmp_path)
    (folder.path / ".trained.part").mkdir(parents=True)  # the trained model is a folder
    (folder.path / ".trained.part" / "model.safetensors").write_bytes(b"half")
    (folder.path / ".done.json.1.part").write_bytes(b"half")
    (tmp_path / "elsewhere").mkdir()
    (folder.path / ".link.part").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        with folder.lock():
            assert os.listdir(folder.path) == [".lock"]
    assert (tmp_path / "elsewhere").is_dir()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_one_clear_line(number, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", fail_with(number))
    with pytest.raises(StorageError, match="offers no locks.*POLARITY_RUNS"), RunFolder("run", {}, tmp_path).lock():
        pass


def test_the_second_waits_then_loads(tmp_path, capsys):
    first, second, order = RunFolder("run", {}, tmp_path), RunFolder("run", {}, tmp_path), []

    def wait():  # the lock belongs to an open file, so a thread is refused as a process would be
        with second.lock():
            order.append("second" if second.load() is not None else "too early")

    with first.lock():
        other = threading.Thread(target=wait)
        other.start()
        while "waiting" not in capsys.readouterr().err:
            pass
        first.finish(TABLES)
        order.append("first")
    other.join(timeout=60)
    assert order == ["first", "second"]


def test_an_error_gives_the_lock_back(tmp_path):
    folder = RunFolder("run", {}, tmp_path)
    with pytest.raises(KeyboardInterrupt), folder.lock():
        raise KeyboardInterrupt
    with folder.lock():
        pass


def test_runs_go_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path))
    assert RunFolder("run", {}).path == tmp_path / "run"
    monkeypatch.delenv("POLARITY_RUNS")
    assert runs_root() == results.ROOT / "data" / "runs"


def test_a_hash_of_digits_alone_stays_a_text(tmp_path):
    (tmp_path / "runs.csv").write_text("run,base_weights,commit\n0123456789,12e4567890123456,5555555555\n")
    assert read_lines(tmp_path / "runs.csv").iloc[0].tolist() == ["0123456789", "12e4567890123456", "5555555555"]


# ---------------------------------------------------------------- where a run was made


def test_a_run_says_when_where_and_from_which_commit_it_was_made(configure, tmp_path, monkeypatch):
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path))
    config = configure(start=SHORT, steps=1)
    train_or_load([Arm("test", "arm", config, "smoke")], reuse_published=False, progress=False)
    record = RunFolder(config.name, config.identity).record()
    assert set(record) >= {"started", "commit", "machine", "instructions", "blas", "threads", "python", "torch", "base_weights"}
    assert record["threads"] == "1" and len(record["base_weights"]) == 16
    assert RunFolder("older", {}, tmp_path).record() == {}
