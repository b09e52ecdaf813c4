"""Which code a run's numbers came from: a digest of its method's source, of what that calls here, and of its problems.

A run's hash holds the names of its method and world alone, so that a run is found again after a comment was mended. The
digests are kept beside it (record.json, and published in runs.csv), and a run whose method or world was edited since is
loaded with a line.
"""

import ast
import dataclasses
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, ModuleType

import pandas as pd

from polarity_lib.problems import WORLDS, any_world
from polarity_lib.registry import METHODS
from polarity_lib.results import ROOT, say_if_changed

RECOMPUTED = ROOT / "data" / "recomputed.csv"
# Common to all methods, so an edit there is no method's own; publishing counts how often the checkers differ.
COMMON = ("polarity_lib.verification", "polarity_lib.registry")


def method_digest(factory: Callable) -> str:
    """A short name for what a method computes: its own code and what that calls in this library.

    Words in comments and docstrings, blank lines and the order of definitions play no part.
    """
    factory = getattr(factory, "unchecked", factory)  # as its paper wrote it; `registry` hands it out with checks around it
    return digest_of(factory, (getattr(factory, "__module__", None) or "").partition(".")[0])


def digest_of(value, package: str) -> str:
    """The same for any value made of functions, records, numbers and texts; `package`: whose code counts beside ours."""
    ours = {"polarity_lib", package} - {""}
    found, todo = [], [value]
    seen: dict[int, tuple[int, object]] = {}  # its number here, and itself: kept alive, so that no two share an id
    while todo:
        value = todo.pop()
        if id(value) in seen:  # told already; which one it is still counts
            found.append(f"number {seen[id(value)][0]} again")
            continue
        if not isinstance(value, (str, int, float, bool, complex, type(None), tuple)):  # these are told each time
            seen[id(value)] = len(seen), value
        text, called = _parts(value, ours)
        found.append(text)
        todo += called
    return "code-" + hashlib.sha256("\n".join(found).encode()).hexdigest()[:10]  # never read as a number


def _parts(value, ours: set[str]) -> tuple[str, list]:
    """A value as text, and the values that its result hangs on."""
    module = str(getattr(value, "__module__", "") or "")
    mine = module.partition(".")[0] in ours and not module.startswith(COMMON)
    if hasattr(value, "__wrapped__"):  # kept by functools.cache and the like
        return "wrapped", [value.__wrapped__]
    if isinstance(value, functools.partial):
        return "partial", [value.func, *value.args, *value.keywords.items()]
    if isinstance(value, FunctionType):
        if not mine:
            return f"{module}.{value.__qualname__}", []
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        kept = [*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return _code_text(value.__code__), kept + _named_in(value.__code__, value.__globals__, ours)
    if isinstance(value, type) and mine:
        written = [part for part in vars(value).values() if isinstance(part, FunctionType)
                   and part.__code__.co_filename not in ("<string>", dataclasses.__file__)]  # others follow from the source
        return _class_text(value), [*written, *value.__bases__]
    if isinstance(value, (set, frozenset)):
        return f"set of {len(value)}", sorted(value, key=repr)
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of {len(value)}", list(value)
    if isinstance(value, dict):
        return f"dict of {len(value)}", list(value.items())
    if isinstance(value, (str, int, float, bool, complex, type(None))):
        return repr(value), []
    if mine and hasattr(value, "__dataclass_fields__"):
        return "record", [type(value), *vars(value).items()]
    return f"{module}.{getattr(value, '__qualname__', type(value).__qualname__)}", []  # torch's, numpy's, Python's


def _named_in(code: CodeType, names: dict, ours: set[str]) -> list:
    """The values of the global names in a function and in those inside it; of a module, the attributes named there."""
    words = sorted(set(_words(code)))
    found = [names[word] for word in words if word in names]
    modules = [part for part in found if isinstance(part, ModuleType) and part.__name__.partition(".")[0] in ours]
    inside = [vars(module)[word] for module in modules for word in words if word in vars(module)]
    return [part for part in found + inside if not isinstance(part, ModuleType)]


def _words(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _words(constant)


@functools.cache
def _code_text(code: CodeType) -> str:
    return _source_text(code) or repr((code.co_code, code.co_names, code.co_varnames, str(code.co_consts)))


@functools.cache
def _class_text(cls: type) -> str:
    return _source_text(cls) or f"{cls.__module__}.{cls.__qualname__}"


def _source_text(thing) -> str | None:
    """Source without its words for people; None where there is none (a console's line)."""
    try:
        source = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        return None
    try:
        return repr(_shape(ast.parse(source)))
    except SyntaxError:  # a lambda in the middle of an expression
        return " ".join(source.split())


def _shape(node):
    """A syntax tree as tuples, the same from every version of Python; docstrings are left out."""
    if isinstance(node, ast.AST):
        return type(node).__name__, *(_shape(part) for _, part in ast.iter_fields(node) if part not in (None, []))
    if isinstance(node, list):
        words = [part for part in node if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)]
        return tuple(_shape(part) for part in node if part not in words)
    return repr(node)


@functools.cache
def problems_digest(world: str, seed: int, count: int = 32) -> str:
    """A short name for what a run of a seed is asked: the first problems of its pool and of its test, with their answers."""
    place = any_world(world)
    asked = [(p.prompt, p.gold) for split in ("train", "test") for p in place.draw(split, min(count, place.size(split)), seed)]
    return "problems-" + hashlib.sha256(repr(asked).encode()).hexdigest()[:10]


def digests(identity: dict) -> dict[str, str]:
    """What is kept with a run of this identity."""
    return {"method_digest": method_digest(METHODS[identity["method"]]),
            "problems_digest": problems_digest(identity["world"], identity["seed"])}


@functools.cache
def compared() -> dict[tuple[str, str, str], float]:
    """(method, its digest then, its digest now) -> how far a committed run's numbers were when it was computed again."""
    if not RECOMPUTED.exists():
        return {}
    rows = pd.read_csv(RECOMPUTED, encoding="utf-8")
    return {(row.method, row.was, row.now): row.largest_difference for row in rows.itertuples()}


def changed_no_number(method: str, was: str | None) -> bool:
    """Whether the edits since then were shown to; a digest is made only where one was compared, as every load asks this."""
    return any(difference == 0 and (method, was) == of[:2] and method_digest(METHODS[method]) == of[2]
               for of, difference in compared().items())


def say_if_edited(identity: dict, record: dict, remedy: str) -> None:
    """Say in one line, once per process and method or world, that a kept run was made by other code than is here now.

    Nothing is said of an edit that was shown to change no number (`study.again`).

    Args:
        identity: the run's.
        record: what was kept with it. Runs made before digests were kept have none, and nothing is said.
        remedy: what a person can do about it.
    """
    method, world = identity["method"], identity["world"]
    kept = record.get("method_digest")
    if method in METHODS and not changed_no_number(method, kept):
        say_if_changed(f"method {method}", kept, lambda: method_digest(METHODS[method]), remedy)
    if world in WORLDS:  # problems of real mathematics may not be here
        say_if_changed(f"world {world}", record.get("problems_digest"), lambda: problems_digest(world, identity["seed"]), remedy)
