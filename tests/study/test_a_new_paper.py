"""A paper outside the repository is found, planned, run, judged and shown like ours, and no other file is touched."""

import os
import re
import subprocess
import sys
import textwrap

import nbformat
import pandas as pd
import pytest

from polarity_lib import registry
from polarity_lib.config import ConfigError
from polarity_lib.experiments import experiment
from polarity_lib.methods import method_named
from polarity_lib.registry import METHODS, papers
from polarity_lib.results import ROOT, RunFolder
from polarity_lib.study import pages, plan
from polarity_lib.study.plan import Settings
from polarity_lib.training import train

EXPERIMENTS = '''
from polarity_lib.experiments import Experiment
from polarity_lib.papers.baselines.experiments import compared


def toy(scale, seed):
    """The base and one method."""
    base = compared(scale, "base", seed, "latent", steps=0)
    return {"base": base, "half": compared(scale, "half_negatives", seed, "latent", learning_rate=1e-4)}


EXPERIMENTS = {"toy": Experiment(toy, 2, "95")}
'''

CLAIMS = '''
from polarity_lib.claims import Claim, Subtest, compare, is_greater

CLAIMS = (Claim("TOY-C1", "Half the push is enough.", "toy", "95", "95_toy", (
    Subtest("above base", "test/pass@1", "", compare(is_greater, "half", "base", "test/pass@1")),), paper="toy"),)
'''

CELLS = [
    'scale = "tiny"  # smoke | tiny\nseeds = 1  # how many replicates\nreuse_published = True\n'
    'figures_dir = "../data/runs/figures"',
    'from polarity_lib import plots\nfrom polarity_lib.claims import judge\nfrom polarity_lib.experiments import runs_of\n'
    'from polarity_lib.study import notebook\nnotebook.check_parameters("95_toy", globals())\nplots.theme()',
    'runs = runs_of("toy", "all", scale, seeds, reuse_published=reuse_published)\nprint(judge("TOY-C1", runs).verdict.tolist())',
    'fig = plots.plot_arms(runs, ["base", "half"], {"test/pass@1": "pass@1"})\n'
    'plots.save_figure(fig, "95_toy", "95_toy", runs, figures_dir)',
]


def method_diff() -> str:
    """The diff that CONTRIBUTING shows."""
    return re.search(r"```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """CONTRIBUTING's method with an experiment, a claim and a notebook, in a folder named by POLARITY_PAPERS."""
    folder = tmp_path / "papers"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "apply", "-"], input=method_diff(), text=True, cwd=folder, check=True)
    (folder / "mine" / "experiments.py").write_text(EXPERIMENTS)
    (folder / "mine" / "claims.py").write_text(CLAIMS)
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "mine" / "95_toy.ipynb")
    monkeypatch.setenv("POLARITY_PAPERS", str(folder))
    before = list(sys.path)
    yield folder
    sys.path[:] = before
    for name in [name for name in sys.modules if name == "mine" or name.startswith("mine.")]:
        del sys.modules[name]
    registry._FOUND.pop(str(folder), None)


def test_the_method_of_contributing_is_short_and_trains(toy, configure, tmp_path):
    assert sum(line.startswith("+") and not line.startswith("+++") for line in method_diff().splitlines()) <= 20
    assert "Mine" in {paper.title for paper in papers()}
    method = method_named("half_negatives")
    config = configure("half_negatives", steps=2)
    tables = train(config, RunFolder(config.name, config.identity, tmp_path))
    assert method.source == "ours" and tables["updates"].norm.gt(0).all()


def test_without_the_folder_there_is_no_such_method():
    assert "half_negatives" not in METHODS
    with pytest.raises(ConfigError, match="Unknown method 'half_negatives'"):
        method_named("half_negatives")


def test_it_is_planned_beside_ours(toy):
    settings = Settings(scale="smoke", seeds=2)
    assert plan.notebooks("95") == [toy / "mine" / "95_toy.ipynb"]
    assert len(experiment("toy", seeds=2)) == 4
    # Its base is a run of notebook 10, which computes it.
    assert [job.arm for job in plan.study_jobs(settings) if job.experiment == "toy"] == ["half"]
    assert re.search(r"95_toy +toy +2 +2 +2 +2", plan.plan_text(settings))


@pytest.mark.slow
def test_it_is_run_judged_and_shown(toy, tmp_path):
    """The whole way of `make study`: plan, runs, its notebook, notebook 90, the ledger and the pages."""
    environment = os.environ | {"POLARITY_RUNS": str(tmp_path / "runs"), "POLARITY_SITE": str(tmp_path / "site"),
                                "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "polarity_lib", "study", "--scale", "smoke", "--seeds", "2", "--only", "95,90"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    table = pd.read_csv(tmp_path / "runs" / "tables" / "smoke-2" / "claims.csv", keep_default_na=False, dtype={"notebook": str})
    mine = table[table.claim == "TOY-C1"]
    assert mine.seeds.tolist() == [2, 2] and (mine.scale == "smoke").all() and set(mine.verdict) & {"inconclusive", "no effect"}
    section = (tmp_path / "runs" / "tables" / "smoke-2" / "claims.md").read_text()
    assert "## Mine" in section and "Half the push is enough." in section
    assert (tmp_path / "runs" / "figures" / "smoke-2" / "95_toy.png").exists() and (tmp_path / "site" / "95_toy.html").exists()


def test_a_ledger_section_names_notebook_and_verdict(toy):
    rows = [{"claim": "TOY-C1", "subtest": s, "paper": "toy", "theirs": "", "ours": 1.25, "low": 0.5, "high": 2.0, "seeds": 2,
             "smallest_detectable": 1.0, "verdict": "replicated", "notebook": "95", "figure": "95_toy", "reason": "1 replicated",
             "rule_older": "yes", "primary": bool(s)}
            for s in ("above base", "")]
    mine = next(paper for paper in papers() if paper.title == "Mine")
    text = pages.paper_section(mine, pd.DataFrame(rows))
    assert "above base: – → +1.2 (+0.5, +2.0)" in text and "**replicated**" in text and "95_toy.ipynb" in text


# ---------------------------------------------------------------- refusals


def test_a_name_in_two_papers_names_both(toy):
    second = toy / "theirs"
    second.mkdir()
    (second / "__init__.py").write_text("from polarity_lib.papers import Paper\nPAPER = Paper(title='Theirs')\n")
    (second / "methods.py").write_text("METHODS = {'half_negatives': None}\n")
    with pytest.raises(ConfigError, match="half_negatives.*stands in two papers.*mine.*theirs"):
        len(METHODS)
    sys.modules.pop("theirs", None), sys.modules.pop("theirs.methods", None)


def test_a_folder_without_a_paper_is_refused(toy):
    (toy / "empty").mkdir()
    (toy / "empty" / "__init__.py").write_text("")
    with pytest.raises(ConfigError, match="holds no PAPER"):
        papers()
    sys.modules.pop("empty", None)


def test_a_folder_cannot_take_an_installed_name(toy):
    (toy / "json").mkdir()
    (toy / "json" / "__init__.py").write_text("")
    with pytest.raises(ConfigError, match="the name json is taken"):
        papers()


def test_a_missing_folder_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("POLARITY_PAPERS", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="not a folder"):
        papers()


def test_an_installed_package_is_found_by_its_entry_point(tmp_path):
    """A distribution on the path that declares the group, looked at from a fresh interpreter."""
    (tmp_path / "theirpaper").mkdir()
    text = "from polarity_lib.papers import Paper\nPAPER = Paper(title='Installed')\n"
    (tmp_path / "theirpaper" / "__init__.py").write_text(text)
    info = tmp_path / "theirpaper-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirpaper\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[polarity_lib.papers]\ntheirpaper = theirpaper\n")
    code = "from polarity_lib.registry import papers; print([p.title for p in papers()])"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=environment)
    assert "Installed" in done.stdout, done.stderr
