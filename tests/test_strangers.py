"""Folders that strangers left, and places that refuse: nothing is executed, one line is said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from polarity_lib import results
from polarity_lib.config import StartConfig
from polarity_lib.pretraining import base_policy
from polarity_lib.results import Damaged, RunFolder, StorageError, checksum, load_tensors, save_tensors, write_atomic


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def save_bomb(path: Path, fuse: Path, payload=None) -> None:
    """A file with a right checksum, as a stranger could write it."""
    torch.save({"step": 3, "model": Bomb(fuse)} | (payload or {}), path)
    data = path.read_bytes()
    path.write_bytes(checksum(data).encode() + data)


def test_a_checkpoint_that_would_execute_code_is_refused(tmp_path):
    save_bomb(tmp_path / "checkpoint.pt", tmp_path / "fuse")
    with pytest.raises(Damaged, match="something else than tensors and numbers"):
        load_tensors(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "fuse").exists()


def test_a_run_with_such_a_checkpoint_starts_again(tmp_path, capsys):
    folder = RunFolder("run", {}, tmp_path)
    (tmp_path / "run").mkdir()
    save_bomb(folder.path / "checkpoint.pt", tmp_path / "fuse")
    assert folder.load_checkpoint() is None and "starts again from its beginning" in capsys.readouterr().err
    assert not (tmp_path / "fuse").exists()


def test_a_base_policy_with_such_weights_is_made_again(tmp_path, capsys):
    start = StartConfig("countdown", "smoke", steps=2, seed=0, batch=4)
    made = base_policy(start, root=tmp_path)
    save_bomb(tmp_path / start.name / "weights.pt", tmp_path / "fuse")
    again = base_policy(start, root=tmp_path)
    assert not (tmp_path / "fuse").exists() and "is made again" in capsys.readouterr().err
    assert all(torch.equal(a, b) for a, b in zip(made.model.state_dict().values(), again.model.state_dict().values()))


def test_tensors_numbers_and_texts_come_back(tmp_path):
    payload = {"step": 2, "rows": [{"metric": "x", "value": 0.5}], "model": {"w": torch.arange(3.0)}, "rng": {"state": 2**100}}
    save_tensors(tmp_path / "a.pt", payload)
    back = load_tensors(tmp_path / "a.pt")
    assert torch.equal(back["model"].pop("w"), payload["model"].pop("w")) and back == payload


# ---------------------------------------------------------------- places that refuse


def test_a_file_in_the_place_of_the_runs_folder(tmp_path):
    (tmp_path / "runs").write_text("")
    folder = RunFolder("r", {}, tmp_path / "runs")
    for write in (lambda: write_atomic(tmp_path / "runs" / "a", b""), lambda: folder.lock().__enter__()):
        with pytest.raises(StorageError, match="Cannot write .*runs.*POLARITY_RUNS"):
            write()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("command", [
    ["run", "tour", "--arms", "nsr", "--scale", "smoke"], ["base-policy", "countdown", "smoke", "2", "0"],
    ["study", "--scale", "smoke", "--only", "10"], ["notebook", "02", "-p", "scale", "smoke"]])
def test_a_runs_folder_that_cannot_be_made_is_one_line(command, tmp_path):
    environment = os.environ | {"POLARITY_RUNS": "/proc/nowhere/runs", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "polarity_lib", *command], capture_output=True, text=True, env=environment,
                          cwd=results.ROOT)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert "error: Cannot write /proc/nowhere/runs" in done.stderr
