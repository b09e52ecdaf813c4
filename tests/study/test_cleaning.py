"""What `make clean-runs` deletes, and above all what it does not."""

import os
import subprocess
import sys

import pytest

from polarity_lib.__main__ import main
from polarity_lib.config import StartConfig
from polarity_lib.experiments import Arm, train_or_load
from polarity_lib.results import MARK, ROOT, make_folder, runs_root

SHORT = StartConfig("countdown", "smoke", steps=2, seed=0, batch=4)


@pytest.fixture
def runs(tmp_path, monkeypatch, configure):
    """A runs folder with one finished run, and a person's own file beside it."""
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path / "runs"))
    train_or_load([Arm("test", "arm", configure(start=SHORT, steps=1), "smoke")], reuse_published=False, progress=False)
    (tmp_path / "runs" / "thesis.txt").write_text("years of work")
    (tmp_path / "runs" / "photos-0123456789").mkdir()  # a name like a run's, and no run
    return tmp_path / "runs"


def test_it_asks_and_names_folder_runs_and_size(runs, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", open(os.devnull))
    assert main(["clean-runs"]) == 0 and len(list(runs.iterdir())) == 5
    said = capsys.readouterr().out
    assert f"in {runs}?" in said and "1 runs" in said and "MB" in said and "kept" in said


def test_only_what_runs_left_goes(runs):
    assert main(["clean-runs", "--yes"]) == 0
    assert sorted(path.name for path in runs.iterdir()) == [MARK, "photos-0123456789", "thesis.txt"]
    (runs / "thesis.txt").unlink(), (runs / "photos-0123456789").rmdir()
    (runs / "starts").mkdir()
    assert main(["clean-runs", "--yes"]) == 0 and not runs.exists()


def test_a_folder_that_is_not_ours_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "home" / "figures").mkdir(parents=True)
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path / "home"))
    assert main(["clean-runs", "--yes"]) == 2 and "carries no mark" in capsys.readouterr().err
    assert (tmp_path / "home" / "figures").exists()


def test_what_stood_there_before_the_first_run_stays(tmp_path, monkeypatch, configure):
    """A person points the runs at a project of theirs, which has folders of the names that ours have."""
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path))
    for name in ("notebooks/thesis.ipynb", "figures/f1.pdf"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("years of work")
    train_or_load([Arm("test", "arm", configure(start=SHORT, steps=1), "smoke")], reuse_published=False, progress=False)
    make_folder(tmp_path / "tables")
    assert main(["clean-runs", "--yes"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARK, "figures", "notebooks"]
    assert (tmp_path / "notebooks" / "thesis.ipynb").exists() and (tmp_path / "figures" / "f1.pdf").exists()


def test_an_empty_variable_means_unset(monkeypatch):
    monkeypatch.setenv("POLARITY_RUNS", "")
    assert runs_root() == ROOT / "data" / "runs"
    monkeypatch.setenv("POLARITY_RUNS", "  ")
    assert runs_root() == ROOT / "data" / "runs"


def test_a_relative_folder_is_one_folder_for_the_command_and_its_kernels(tmp_path, monkeypatch):
    """The command makes it absolute before it starts anything; elsewhere it lies in the checkout, wherever a kernel stands."""
    code = "from polarity_lib.__main__ import main; import os; main(['clean-runs']); print(os.environ['POLARITY_RUNS'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True,
                          env=os.environ | {"POLARITY_RUNS": "here/runs", "PYTHONPATH": str(ROOT)})
    assert done.stdout.splitlines()[-1] == str(tmp_path / "here" / "runs"), done.stderr
    monkeypatch.setenv("POLARITY_RUNS", "here/runs")
    monkeypatch.chdir(tmp_path)
    assert runs_root() == ROOT / "here" / "runs"
    monkeypatch.setenv("POLARITY_RUNS", "~/runs")
    assert runs_root().is_absolute() and "~" not in str(runs_root())
