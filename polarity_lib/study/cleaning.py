"""Deleting what runs left, and nothing else.

A runs folder carries a mark that we made it. In it, only run folders, base policies, data sets of answers, figures, tables,
executed notebooks and Snakemake's markers are deleted, and nothing that stood there before the mark; the folder itself goes
when nothing else is left in it.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from polarity_lib.config import ConfigError
from polarity_lib.results import MARK, ROOT, runs_root, there_before

OURS = ("starts", "answers", "figures", "tables", "notebooks", "study", "compare")
RUN = re.compile(r".+-[0-9a-f]{10}")  # names end with the hash of a configuration


@dataclass(frozen=True)
class Found:
    """What would be deleted."""

    root: Path
    paths: tuple[Path, ...]
    runs: int
    bytes: int

    def told(self) -> str:
        return f"{self.runs} runs, base policies, figures and tables ({self.bytes / 1e6:,.0f} MB) in {self.root}"


def left_by_runs() -> Found:
    """What runs left in the runs folder.

    Raises:
        ConfigError: the folder holds something and no mark that this project made it.
    """
    root = runs_root()
    if not root.exists():
        return Found(root, (), 0, 0)
    if not (root / MARK).exists() and root != ROOT / "data" / "runs":
        raise ConfigError(f"{root} carries no mark that this project made it ({MARK}), so nothing in it is deleted.")
    inside = sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink())
    runs = [path for path in inside if RUN.fullmatch(path.name) and any((path / f).exists() for f in ("config.json", ".lock"))]
    older = there_before()
    paths = (*runs, *(path for path in inside if path.name in OURS and path.name not in older))
    size = sum(file.stat().st_size for path in paths for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return Found(root, paths, len(runs), size)


def delete(found: Found) -> None:
    """Delete it; the folder too, if nothing else is in it."""
    for path in found.paths:
        shutil.rmtree(path)
    if [path.name for path in found.root.iterdir()] in ([MARK], []):
        (found.root / MARK).unlink(missing_ok=True)
        found.root.rmdir()
