"""Folders and names with every sign in them: nothing of them reaches a shell, a template or a page unquoted."""

import errno
import html
import os
import shlex
import shutil
import subprocess
import sys

import pytest
from small_notebooks import write_notebook

from polarity_lib.config import ConfigError
from polarity_lib.results import ROOT, StorageError
from polarity_lib.study import execution, pages, running, site

ODD = "it's a \"b\" $(touch hacked); `touch hacked` é & <i>%s #1"
RUNS = ODD.replace("<i>", "")


# ---------------------------------------------------------------- notebooks


def test_parameters_are_read_in_a_folder_with_braces(tmp_path):
    path = write_notebook(tmp_path / "my{study}" / "{}" / "a.ipynb", "seeds = 1")
    assert execution.declared_parameters(path) == {"seeds": 1}


@pytest.mark.notebook
def test_a_notebook_runs_in_a_folder_with_every_sign(tmp_path):
    path = write_notebook(tmp_path / (ODD + "{seeds}") / "a.ipynb", "seeds = 1", "print(seeds + 1)")
    output = tmp_path / (ODD + "{}") / "a.ipynb"
    execution.execute(path, output, {"seeds": 6})
    assert [p.name for p in output.parent.iterdir()] == ["a.ipynb"] and "7" in output.read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_notebook_that_cannot_be_written_is_one_line(number, tmp_path, monkeypatch):
    import papermill

    def refuse(*args, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(papermill, "execute_notebook", refuse)
    with pytest.raises(StorageError, match="Cannot write .*out/a.ipynb: the .*POLARITY_RUNS") as refusal:
        execution.execute(write_notebook(tmp_path / "a.ipynb", "seeds = 1"), tmp_path / "out" / "a.ipynb", {})
    assert "\n" not in str(refusal.value) and list((tmp_path / "out").iterdir()) == []


def test_a_program_that_is_not_there_keeps_its_own_name(tmp_path, monkeypatch):
    import papermill

    def refuse(*args, **options):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/nowhere/python")

    monkeypatch.setattr(papermill, "execute_notebook", refuse)
    with pytest.raises(FileNotFoundError, match="/nowhere/python"):
        execution.execute(write_notebook(tmp_path / "a.ipynb", "seeds = 1"), tmp_path / "out" / "a.ipynb", {})


# ---------------------------------------------------------------- the study


@pytest.mark.parametrize("name", ["my{runs}", "a}", "<i>"])
def test_what_snakemake_would_read_as_a_pattern_is_refused_before_anything_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path / name))
    with pytest.raises(ConfigError, match="braces.*POLARITY_RUNS"):
        running.run_study(running.Settings(scale="smoke"), cores=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_study_with_every_sign_in_its_names(tmp_path):
    """Snakemake for real: a notebook of another paper, a runs folder and a site, all named as nobody should."""
    paper = tmp_path / "papers" / "odd"
    write_notebook(paper / "97_it's $(touch hacked); `touch hacked`.ipynb", 'scale = "tiny"', "print(scale)")
    (paper / "__init__.py").write_text("from polarity_lib.registry import Paper\nPAPER = Paper(title='<b>|odd')\n")
    folders = {"POLARITY_RUNS": str(tmp_path / RUNS), "POLARITY_SITE": str(tmp_path / ("site " + ODD)),
               "POLARITY_PAPERS": str(paper.parent), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "polarity_lib", "study", "--scale", "smoke", "--only", "97", "--cores", "1"],
                          cwd=tmp_path, env=os.environ | folders, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (tmp_path / RUNS / "notebooks").glob("97_*.ipynb")
    assert "smoke" in made.read_text(encoding="utf-8")
    assert not list(tmp_path.rglob("hacked")) and not (ROOT / "hacked").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_what_make_is_given_reaches_the_shell_as_one_word(tmp_path):
    given = ["ONLY=10, 11; touch hacked", "SCALE=ti'ny`touch hacked`", f"VENV={tmp_path}", "PYTHON=python3"]
    shown = subprocess.run(["make", "--no-print-directory", "-n", "plan", *given], cwd=ROOT, capture_output=True,
                           encoding="utf-8").stdout
    words = shlex.split(shown.strip().split("\n")[-1])
    assert words[words.index("--only") + 1] == "10, 11; touch hacked" and "ti'ny`touch hacked`" in words


# ---------------------------------------------------------------- pages


def test_names_on_the_site_are_quoted(tmp_path, monkeypatch):
    monkeypatch.setenv("POLARITY_SITE", str(tmp_path))
    (tmp_path / "figures").mkdir()
    figure = tmp_path / "figures" / f"10{ODD.replace('/', '')}.png"
    figure.touch()
    page = tmp_path / "10_#1 & 'x'.html"
    page.write_text("<h1 id='a'>Gains &amp; <b>losses</b> &lt;5<a class", encoding="utf-8")
    (tmp_path / "claims.csv").write_text("claim,reason\nC1,<script>alert(1)</script>\n")
    text = site.write_index("{label} <b>", [page], [figure], tmp_path / "claims.csv").read_text(encoding="utf-8")
    assert 'href="10_%231%20%26%20%27x%27.html"' in text and "Gains &amp; losses &lt;5" in text
    assert html.escape(figure.stem) in text and 'alt="10it' in text and "<i>" not in text
    assert "<script>" not in text and "{label} &lt;b&gt;" in text


@pytest.mark.parametrize(("text", "as_cell"), [
    ("a | b", r"a \| b"), (r"already \| so", r"already \| so"), ("two\nlines", "two lines"), ("PSR < GRPO", "PSR < GRPO"),
    ("<script>x</script>", "&lt;script>x&lt;/script>"),
])  # fmt: skip
def test_a_text_is_one_cell_of_a_table(text, as_cell):
    assert pages.cell(text) == as_cell
