"""What is installed: the pins agree everywhere, and the core needs little."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from polarity_lib.registry import EXPERIMENTS, METHODS
from polarity_lib.results import ROOT


def pins(text: str) -> dict[str, str]:
    return {name.lower(): version for name, version in re.findall(r"^\s*(?:- )?([\w.-]+)==([\w.+]+)\s*$", text, re.M)}


CONSTRAINTS = pins((ROOT / "constraints.txt").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_conda_and_pip_users_get_the_same_versions():
    assert pins((ROOT / "environment.yml").read_text()) == CONSTRAINTS
    assert len(CONSTRAINTS) > 100


def test_pins_are_whole_and_name_no_local_build():
    lines = [s for s in (ROOT / "constraints.txt").read_text().splitlines() if s and not s.startswith("#")]
    assert len(lines) == len(CONSTRAINTS)  # every line is name==version
    assert CONSTRAINTS["torch"] == "2.13.0"


def test_everything_asked_for_is_pinned():
    wanted = PROJECT["dependencies"] + [
        r for extra, requirements in PROJECT["optional-dependencies"].items() if extra != "vllm" for r in requirements]
    names = {re.match(r"[\w.-]+", requirement).group().lower() for requirement in wanted}
    assert names <= set(CONSTRAINTS)


CORE = ("outside", "config", "registry", "results", "provenance", "problems", "policy", "pretraining", "rollouts", "engines",
        "rewards", "advantages",
        "objectives", "methods", "digests", "diagnostics", "evaluation", "critic", "offline", "loading", "models",
        "boards", "exporting", "training", "experiments")
PARTS = sorted(path.relative_to(ROOT / "polarity_lib").with_suffix("").as_posix() for part in ("methods", "experiments", "probes")
               for path in (ROOT / "polarity_lib" / "papers").glob(f"*/{part}.py"))  # what runs need of papers
ASKED = {re.match(r"[\w.-]+", requirement).group().lower() for requirement in PROJECT["dependencies"]}
BARE = {*ASKED, "tokenizers", "polarity_lib", *sys.stdlib_module_names}


ELSEWHERE = {"vllm_worker.py"}  # imported by name in vLLM's own process alone


def sources(module: str) -> list[Path]:
    path = ROOT / "polarity_lib" / module
    return sorted(p for p in path.glob("*.py") if p.name not in ELSEWHERE) if path.is_dir() else [path.with_suffix(".py")]


def imported(nodes) -> set[str]:
    """Names of the modules that some statements import."""
    nodes = list(nodes)
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("module", (*CORE, *PARTS))
def test_the_core_needs_no_extra_to_be_imported(module):
    """Bare GPU machines have the core's dependencies alone; extras are imported where they are used."""
    for source in sources(module):
        assert {name.split(".")[0] for name in imported(ast.parse(source.read_text()).body)} <= BARE, source


@pytest.mark.parametrize("module", (*CORE, "claims", "statistics", "mechanism", "plots", "study"))
def test_papers_know_the_library_and_not_the_other_way_round(module):
    for source in sources(module):
        named = imported(ast.walk(ast.parse(source.read_text())))
        assert not {name for name in named if name.startswith("polarity_lib.papers")}, source


def test_runs_need_no_extra_library():
    """Every method, experiment and probe is there where what only figures, claims and notebooks use cannot be imported."""
    code = """
import sys
sys.modules |= dict.fromkeys(("scipy", "matplotlib", "seaborn", "IPython", "nbformat", "papermill", "snakemake", "peft"))
from polarity_lib import training
from polarity_lib.experiments import experiment
from polarity_lib.methods import method_named
from polarity_lib.registry import EXPERIMENTS, METHODS, PROBES
print(len([method_named(name) for name in METHODS]), len([experiment(name) for name in EXPERIMENTS]), len(PROBES) > 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(METHODS)), str(len(EXPERIMENTS)), "True"]


@pytest.mark.parametrize("name", ["make study", "make test"])
def test_the_two_commands_exist(name):
    assert re.search(rf"^{name.split()[1]}: env", (ROOT / "Makefile").read_text(), re.M)


def test_a_misspelt_make_variable_is_refused():
    done = subprocess.run(["make", "-n", "plan", "SEDES=3"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0 and "Did you mean SEEDS" in done.stderr
