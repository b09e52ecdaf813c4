"""Every notebook, as it is committed and as it runs at scale smoke."""

import ast
import os

import nbformat
import pytest

from polarity_lib.study.execution import declared_parameters, execute
from polarity_lib.study.plan import NOTEBOOKS, Settings, experiments_of, notebooks, trains_nothing

LONGEST_CELL = 30  # lines; a longer cell is a function of the library
NUMBERED = notebooks()
ALL = NUMBERED + sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))


def name_of(path):
    return path.stem if path in NUMBERED else f"solutions/{path.stem}"


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_committed_without_outputs_and_in_short_cells(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, f"outputs in: {cell.source[:60]}"
            assert len(cell.source.splitlines()) <= LONGEST_CELL, f"long cell: {cell.source[:60]}"


@pytest.mark.parametrize("path", NUMBERED, ids=name_of)
def test_parameters_are_literals_one_per_line(path):
    tagged = [c.source for c in nbformat.read(path, as_version=4).cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1, "one cell is tagged `parameters`"
    source = tagged[0]
    assert {"scale", "seeds"} <= set(declared_parameters(path))
    nodes = ast.parse(source).body
    assert all(isinstance(node, ast.Assign) and node.lineno == node.end_lineno for node in nodes)
    assert len({node.lineno for node in nodes}) == len(nodes)


@pytest.fixture(scope="session")
def shared_runs(tmp_path_factory):
    """Runs that several notebooks load are computed once, by whichever test process comes first."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "notebook_runs"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.notebook
@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_executes_at_scale_smoke(path, shared_runs, tmp_path, monkeypatch):
    pytest.importorskip("papermill")
    monkeypatch.setenv("POLARITY_RUNS", str(shared_runs))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    wanted = {"scale": "smoke", "seeds": 1, "reuse_published": False,
              "figures_dir": str(tmp_path / "figures"), "results_dir": str(tmp_path / "tables")}
    declared = declared_parameters(path)
    before = committed_files()
    execute(path, tmp_path / path.name, {k: v for k, v in wanted.items() if k in declared})
    assert committed_files() == before, "a notebook wrote into the committed folders"


NOT_TRAINED = [path for path in NUMBERED if experiments_of(path, Settings(full=True)) and trains_nothing(path, Settings())]


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOT_TRAINED, ids=name_of)
def test_what_the_preview_does_not_train_stands_on_what_is_committed(path, tmp_path, monkeypatch):
    pytest.importorskip("papermill")
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    wanted = {"figures_dir": str(tmp_path / "figures"), "results_dir": str(tmp_path / "tables")}
    execute(path, tmp_path / path.name, wanted)
    assert not list((tmp_path / "runs").glob("*/*.parquet")), "a run was trained"


def committed_files() -> dict[str, float]:
    """Files of figures/ and data/results/ with their times."""
    folders = [NOTEBOOKS.parent / "figures", NOTEBOOKS.parent / "data" / "results"]
    return {str(p): os.stat(p).st_mtime for folder in folders for p in folder.rglob("*") if p.is_file()}
