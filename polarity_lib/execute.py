"""Run one notebook through papermill, after checking every parameter's name and type.

papermill itself only warns when a parameter is unknown, and computes with
the defaults.
"""

import ast
import os
from pathlib import Path

import nbformat

from polarity_lib.config import ConfigError, choose
from polarity_lib.plan import NOTEBOOKS
from polarity_lib.results import say


def parameters_cell(path: Path) -> str | None:
    """Source of the cell tagged `parameters`, or None."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if "parameters" in c.metadata.get("tags", [])]
    return cells[0].source if cells else None


def declared_parameters(path: Path) -> dict:
    """Names and default values in a notebook's parameters cell (literals only)."""
    tree = ast.parse(parameters_cell(path) or "")
    return {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)}


def find_notebook(name: str) -> Path:
    """A notebook by path, by name, or by its number.

    Raises:
        ConfigError: none of that name, with the near misses.
    """
    if Path(name).suffix == ".ipynb" and Path(name).exists():
        return Path(name).resolve()
    known = {str(p.relative_to(NOTEBOOKS).with_suffix("")): p for p in sorted(NOTEBOOKS.rglob("*.ipynb"))
             if ".ipynb_checkpoints" not in p.parts}
    numbers = {stem[:2]: path for stem, path in known.items() if stem[:2].isdigit()}
    name = name.removeprefix("notebooks/").removesuffix(".ipynb")
    return (known | numbers)[choose("notebook", name, known | numbers)]


def check_parameters(path: Path, given: dict[str, str]) -> dict:
    """Given texts as values of the types that the notebook declares.

    Raises:
        ConfigError: unknown name (with the near misses) or a value of another type.
    """
    declared = declared_parameters(path)
    return {name: _as_type_of(declared[choose(f"parameter of {path.stem}", name, declared)], name, text)
            for name, text in given.items()}


def _as_type_of(default, name: str, text: str):
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
    if default is not None and type(value) is not type(default) and not number:
        raise ConfigError(f"Parameter {name} is {default!r} by default, so {text!r} does not fit "
                          f"({type(default).__name__} wanted).")
    return float(value) if number else value


class Relay:
    """Passes on what the kernel says about its runs, and leaves out Jupyter's own notices."""

    def write(self, text: str) -> None:
        for line in text.splitlines():
            if line.strip() and not line.startswith("[IPKernelApp]"):
                say(line)

    def flush(self) -> None:
        pass


def execute(path: Path, output: Path, parameters: dict) -> None:
    """Execute a notebook; `output` appears when it is complete.

    An error keeps the unfinished copy beside `output` as `*.failed.ipynb`.

    Raises:
        papermill.PapermillExecutionError: a cell raised.
    """
    import papermill

    output.parent.mkdir(parents=True, exist_ok=True)
    failed = output.with_suffix(".failed.ipynb")
    part = output.with_name(f".{output.stem}.{os.getpid()}.part.ipynb")
    say(f"[{path.stem}] notebook starts")
    try:
        papermill.execute_notebook(
            str(path), str(part), parameters=parameters, cwd=str(path.parent), progress_bar=False,
            stderr_file=Relay())
        os.replace(part, output)
    except papermill.PapermillExecutionError:
        os.replace(part, failed)
        say(f"[{path.stem}] notebook failed; the cell that raised is in {failed}")
        raise
    finally:
        part.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
    say(f"[{path.stem}] notebook is done")
