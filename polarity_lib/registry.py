"""Who offers what: papers are found by walking folders, and asked for their parts by name.

A *paper* is a package (a folder with an `__init__.py`) that holds

    PAPER = Paper(title=..., arxiv=..., about=...)

and any of these modules, each imported when somebody first asks for what is in it:

    methods.py      METHODS      {name: function that builds a Method}
                    LIMITS       {name: {option: "[0, 1]", or the names it may be}}: what its formula allows; see `checked`
    experiments.py  EXPERIMENTS  {name: Experiment}
    probes.py       PROBES       {name: function (policy, config) -> metrics}; `evaluation.asks` says which runs it is for
    watches.py      WATCHES      {name: function (rollouts, weights_NT) -> metrics of a batch}; see training.watched
    readings.py     READINGS     {name: Reading}: ways in which `make compare` reads a method
    claims.py       CLAIMS       (Claim, ...); for written pages: SUMMARIES, KNOWN_BEFORE
    figures.py      STYLES       {arm: (label, colour, dashes)}
    pages.py        PAGES        {file name: function () -> markdown}, written to docs/ from tables
                    FINDINGS     (function (load) -> Headline, ...): what the README says, from committed runs
    paper_scale.py  EXPERIMENTS  {name: Experiment} for language models; PUBLISHED, what the paper itself ran
    theory.py       where there are theorems to check; notebooks NN_name.ipynb may lie beside

Papers are looked for in `polarity_lib/papers`, in installed packages that declare the entry-point
group `polarity_lib.papers`, and in the folder that POLARITY_PAPERS names. No list of papers stands
anywhere; nothing is registered by side effect. A name that two papers use is an error that names both.
"""

import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path

from polarity_lib.config import ConfigError, choose, like, within

GROUP = "polarity_lib.papers"  # entry-point group of other people's packages
OURS = Path(__file__).parent / "papers"


@dataclass(frozen=True)
class Headline:
    """A finding: what it says, the numbers beside it in the README, and all the rest, for docs/findings.md."""

    says: str
    shown: str
    more: str


@dataclass(frozen=True)
class Paper:
    """What a paper's folder says about itself.

    Attributes:
        title: as people call it, short.
        arxiv: its number; "" for a collection that is no paper.
        about: one paragraph.
        notebooks: numbers of the notebooks that belong to it.
        package: the import name of its folder; filled in where it is found.
    """

    title: str
    arxiv: str = ""
    about: str = ""
    notebooks: tuple[str, ...] = ()
    package: str = field(default="", kw_only=True)

    @property
    def name(self) -> str:
        return self.package.rpartition(".")[2]

    @property
    def folder(self) -> Path:
        return Path(importlib.util.find_spec(self.package).origin).parent

    @property
    def source(self) -> str:
        """How tables name it."""
        return f"arXiv {self.arxiv}" if self.arxiv else self.title

    def part(self, module: str, attribute: str, default):
        """An attribute of one of its modules; the default where the module or the attribute is absent."""
        if importlib.util.find_spec(f"{self.package}.{module}") is None:
            return default
        return getattr(importlib.import_module(f"{self.package}.{module}"), attribute, default)


def papers() -> tuple[Paper, ...]:
    """Every paper, by its first notebook.

    Raises:
        ConfigError: a package without a PAPER, POLARITY_PAPERS is no folder, or a name is taken.
    """
    extra = os.environ.get("POLARITY_PAPERS", "")
    if extra not in _FOUND:
        found = [_read(package) for package in _packages(extra)]
        _FOUND[extra] = tuple(sorted(found, key=lambda p: (p.notebooks, p.package)))
    return _FOUND[extra]


_FOUND: dict[str, tuple[Paper, ...]] = {}  # per value of POLARITY_PAPERS


def _packages(extra: str) -> Iterator[str]:
    """Import names: ours, installed ones, those of a folder."""
    yield from (f"{GROUP}.{name}" for name in _packages_in(OURS))
    yield from sorted(e.value for e in importlib.metadata.entry_points(group=GROUP))
    if not extra:
        return
    folder = Path(extra).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigError(f"POLARITY_PAPERS names {folder}, which is not a folder.")
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    for name in _packages_in(folder):
        origin = importlib.util.find_spec(name).origin
        if Path(origin).parent != folder / name:  # something installed goes by that name
            raise ConfigError(f"{folder / name} cannot be a paper: the name {name} is taken by {origin}.")
        yield name


def _packages_in(folder: Path) -> list[str]:
    return sorted(p.parent.name for p in folder.glob("*/__init__.py"))


def _read(package: str) -> Paper:
    module = importlib.import_module(package)
    paper = getattr(module, "PAPER", None)
    if not isinstance(paper, Paper):
        raise ConfigError(f"{module.__file__} holds no PAPER = Paper(title=...), so its folder is no paper.")
    return replace(paper, package=package)


class Catalogue(MutableMapping):
    """What all papers offer of one kind, by name; read when first used.

    An entry may be set by hand (`METHODS["mine"] = mine`), for trying something out in a notebook.
    `hand_out`: (name, entry) -> what a look-up gives in the entry's place.
    """

    def __init__(self, kind: str, module: str, attribute: str, hand_out: Callable = lambda name, entry: entry):
        self.kind, self.module, self.attribute, self.hand_out = kind, module, attribute, hand_out
        self._of: dict[tuple, dict] = {}

    def _entries(self) -> dict:
        key = papers()
        if key not in self._of:
            self._of[key] = self._collect(key)
        return self._of[key]

    def _collect(self, found: tuple[Paper, ...]) -> dict:
        entries, owner = {}, {}
        for paper in found:
            offered = paper.part(self.module, self.attribute, {})
            offered = offered if isinstance(offered, dict) else {item.name: item for item in offered}
            for name, entry in offered.items():
                if name in entries:
                    raise ConfigError(f"{self.kind} {name!r} stands in two papers: "
                                      f"{owner[name].folder} and {paper.folder}. Rename one.")
                entries[name], owner[name] = entry, paper
        return entries

    def __getitem__(self, name):
        return self.hand_out(name, self._entries()[name])

    def __setitem__(self, name, entry):
        self._entries()[name] = entry

    def __delitem__(self, name):
        del self._entries()[name]

    def __iter__(self):
        return iter(self._entries())

    def __len__(self):
        return len(self._entries())


def checked(name: str, factory: Callable) -> Callable:
    """A method's factory that first looks at what it is given: each option is of its default's kind and within its limit.

    The checks stand here and not in the factories, so that they are no part of what a method computes (`digests`).
    """
    factory = getattr(factory, "unchecked", factory)  # a look-up's result, set under another name

    @wraps(factory)
    def build(*args, **given):
        for option, value, default in _options(factory, args, given):
            like(f"{option} of {name}", value, default)
            limit = LIMITS.get(name, {}).get(option)
            if isinstance(limit, str):
                within(f"{option} of {name}", value, limit)
            elif limit:
                choose(f"{option} of {name}", value, limit)
        return factory(*args, **given)

    build.unchecked = factory
    return build


def _options(factory: Callable, args: tuple, given: dict) -> Iterator[tuple]:
    """(option, value, default) of a call; a record's fields are options."""
    signature = inspect.signature(factory)
    for name, value in signature.bind(*args, **given).arguments.items():
        if is_dataclass(value):
            yield from ((f.name, getattr(value, f.name), f.default) for f in fields(value))
        else:
            yield name, value, signature.parameters[name].default


METHODS = Catalogue("method", "methods", "METHODS", checked)
LIMITS = Catalogue("limits of method", "methods", "LIMITS")
EXPERIMENTS = Catalogue("experiment", "experiments", "EXPERIMENTS")
AT_PAPER_SCALE = Catalogue("experiment at scale paper", "paper_scale", "EXPERIMENTS")
PROBES = Catalogue("probe", "probes", "PROBES")
WATCHES = Catalogue("watch", "watches", "WATCHES")
READINGS = Catalogue("reading", "readings", "READINGS")
CLAIMS = Catalogue("claim", "claims", "CLAIMS")
STYLES = Catalogue("style", "figures", "STYLES")


def paper_of(catalogue: Catalogue, name: str) -> Paper:
    """The paper that offers an entry."""
    for paper in papers():
        offered = paper.part(catalogue.module, catalogue.attribute, {})
        if name in (offered if isinstance(offered, dict) else {item.name for item in offered}):
            return paper
    raise ConfigError(f"No paper offers the {catalogue.kind} {name!r}.")
