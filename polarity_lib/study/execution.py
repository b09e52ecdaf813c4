"""Run one notebook through papermill, after checking every parameter's name and type.

papermill itself only warns when a parameter is unknown, and computes with
the defaults.
"""

import ast
import os
from pathlib import Path

from polarity_lib.config import ConfigError, choose, scale_named
from polarity_lib.results import clear_storage_errors, make_folder, say
from polarity_lib.study.plan import NOTEBOOKS, notebooks


def declared_parameters(path: Path) -> dict:
    """Names and default values in a notebook's parameters cell (literals only)."""
    import papermill

    found = papermill.inspect_notebook(literal(path))
    return {name: ast.literal_eval(one["default"]) for name, one in found.items()}


def literal(path: Path) -> str:
    """A path as papermill takes it: it would fill {names} in with parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def find_notebook(name: str) -> Path:
    """A notebook by path, by name, or by its number.

    Raises:
        ConfigError: none of that name, with the near misses.
    """
    if Path(name).suffix == ".ipynb" and Path(name).exists():
        return Path(name).resolve()
    solutions = {f"solutions/{p.stem}": p for p in (NOTEBOOKS / "solutions").glob("*.ipynb")}
    known = {path.stem: path for path in notebooks()} | solutions
    numbers = {path.stem[:2]: path for path in notebooks()}
    name = name.removeprefix("notebooks/").removesuffix(".ipynb")
    return (known | numbers)[choose("notebook", name, known | numbers)]


def check_parameters(path: Path, given: dict[str, str]) -> dict:
    """Given texts as values of the types that the notebook declares.

    Raises:
        ConfigError: unknown name (with the near misses), a value of another type, or one that no notebook can take.
    """
    declared = declared_parameters(path)
    values = {name: _as_type_of(declared[choose(f"parameter of {path.stem}", name, declared)], name, text)
              for name, text in given.items()}
    check_values(declared | values)
    return values


def check_values(values: dict) -> None:
    """Refuse what no notebook can take.

    Raises:
        ConfigError: unknown scale (with the near misses), no seeds, a folder without a name.
    """
    scale_named(values.get("scale", "tiny"))
    if values.get("seeds", 1) < 1:
        raise ConfigError(f"seeds is how many replicates to run, a whole number above zero, not {values['seeds']!r}.")
    for name in ("figures_dir", "results_dir"):
        if values.get(name) == "":
            raise ConfigError(f"{name} is a folder's name, not ''.")


def _as_type_of(default, name: str, text: str):
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    return check_type(name, default, value)


def check_type(name: str, default, value):
    """The value of a parameter, a whole number made a float where the default is one.

    Raises:
        ConfigError: another type than the default's.
    """
    number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
    if type(value) is not type(default) and not number:
        raise ConfigError(f"Parameter {name} is {default!r} by default, so {value!r} does not fit "
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
        StorageError: the copy cannot be written (full disk, read-only).
    """
    make_folder(output.parent)
    failed = output.with_suffix(".failed.ipynb")
    part = output.with_name(f".{output.stem}.{os.getpid()}.part.ipynb")
    say(f"[{path.stem}] notebook starts")
    with clear_storage_errors(output):
        _execute(path, part, output, failed, parameters)
    say(f"[{path.stem}] notebook is done")


def _execute(path: Path, part: Path, output: Path, failed: Path, parameters: dict) -> None:
    import papermill

    try:
        papermill.execute_notebook(
            literal(path), literal(part), parameters=parameters, cwd=str(path.parent), progress_bar=False,
            stderr_file=Relay())
        os.replace(part, output)
    except papermill.PapermillExecutionError:
        os.replace(part, failed)
        say(f"[{path.stem}] notebook failed; the cell that raised is in {failed}")
        raise
    finally:
        part.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
