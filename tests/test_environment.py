"""What is installed: the pins agree everywhere, and the core needs little."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest

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


CORE = ("config", "results", "problems", "policy", "pretraining", "rollouts", "rewards", "advantages", "objectives",
        "methods", "diagnostics", "evaluation", "critic", "training", "experiments")
BARE = {"torch", "transformers", "tokenizers", "numpy", "pandas", "polarity_lib", *sys.stdlib_module_names}


@pytest.mark.parametrize("module", CORE)
def test_the_core_needs_no_extra_to_be_imported(module):
    """Bare GPU machines have torch, transformers, numpy and pandas; extras are imported where they are used."""
    path = ROOT / "polarity_lib" / module
    for source in sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
        for node in ast.parse(source.read_text()).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= BARE, source


@pytest.mark.parametrize("name", ["make study", "make test"])
def test_the_two_commands_exist(name):
    assert re.search(rf"^{name.split()[1]}: env", (ROOT / "Makefile").read_text(), re.M)


def test_a_misspelt_make_variable_is_refused():
    done = subprocess.run(["make", "-n", "plan", "SEDES=3"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0 and "Did you mean SEEDS" in done.stderr
