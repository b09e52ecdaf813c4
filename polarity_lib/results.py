"""Run folders: locked while computed, written atomically, checked when read.

    data/runs/<name>/
        config.json      the run's identity
        record.json      when, where and from which commit it was made
        checkpoint.pt    latest state, one checksummed file
        metrics.jsonl    a line per step, for watching; never read back
        *.parquet        the finished tables
        done.json        written last: checksum of every table; diverged.json instead where the policy was lost

A run that was killed anywhere continues from its checkpoint. A file whose
checksum does not fit is reported and that run alone is redone.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock, Timeout

from polarity_lib.outside import Told, first_line, strict_json

ROOT = Path(os.environ.get("POLARITY_ROOT", Path(__file__).resolve().parent.parent))


class StorageError(OSError, Told):
    """The disk refused; the message is one line a person can act on."""


class Damaged(Told):
    """A file in a run folder is not what was written there."""


def say(text: str) -> None:
    """One line to the person watching, out of the way of piped output."""
    print(text, file=sys.stderr, flush=True)


def say_if_changed(what: str, kept, now: Callable[[], str], remedy: str) -> None:
    """Say once, of a kept run or base policy, that what it was made from is another now.

    Args:
        what: "method grpo"
        kept: the digest kept with it; anything but a text was never kept, and nothing is said.
        now: makes the digest of what is here; called only where there is something to compare it with.
        remedy: what a person can do about it.
    """
    if isinstance(kept, str) and what not in _SAID and kept != now():
        _SAID.add(what)
        say(f"{what} was edited since this run was made ({kept}, now {now()}); its old numbers are used. {remedy}")


_SAID: set[str] = set()


def place(variable: str, default: Path | None) -> Path | None:
    """The folder that an environment variable names: expanded and absolute, whoever asks from wherever.

    Empty means unset. A relative one lies in the checkout (the command line makes it absolute first).
    """
    given = os.environ.get(variable, "").strip()
    return ROOT / Path(given).expanduser() if given else default


def runs_root() -> Path:
    """Where runs go: POLARITY_RUNS, else data/runs in the checkout."""
    return place("POLARITY_RUNS", ROOT / "data" / "runs")


MARK = ".sample-polarity"  # stands in a runs folder that we made; nothing else is ever cleaned


def mark_runs_root() -> None:
    """Say in the runs folder that it is one, and what stood in it before: a person's own `notebooks` are not ours to delete."""
    root = runs_root()
    if (root / MARK).exists():
        return
    before = sorted(path.name for path in root.iterdir()) if root.exists() else []
    root.mkdir(parents=True, exist_ok=True)
    lines = ["Runs of the sample-polarity study. `make clean-runs` deletes what they left here, and nothing of this:", *before]
    with contextlib.suppress(FileExistsError), open(root / MARK, "x", encoding="utf-8") as file:
        file.write("\n".join([*lines, ""]))


def there_before() -> set[str]:
    """The names in the runs folder that are older than its mark."""
    return set((runs_root() / MARK).read_text(encoding="utf-8").splitlines()[1:]) if (runs_root() / MARK).exists() else set()


REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission was denied",
    errno.EPERM: "permission was denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is not a folder",
    errno.EEXIST: "something that is no folder is in its place",
    errno.ENOENT: "nothing can be made there",
    errno.EISDIR: "a folder is in its place",
    errno.ENAMETOOLONG: "a name in it is too long",
    errno.ELOOP: "it leads round in a circle of links",
    errno.EIO: "the disk reports an error",
    errno.ENOLCK: "the file system offers no locks",
    errno.ENOSYS: "the file system offers no locks",
    errno.EOPNOTSUPP: "the file system offers no locks",
}


@contextlib.contextmanager
def clear_storage_errors(path: Path):
    """Whatever a disk or a path refuses becomes one line a person can act on."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError) or error.errno not in REASONS or _elsewhere(error, path):
            raise
        raise StorageError(
            f"Cannot write {path}: {REASONS[error.errno]}. Nothing half-written was left; "
            "free some space or set POLARITY_RUNS to another folder, then run the same command."
        ) from None


def _elsewhere(error: OSError, path: Path) -> bool:
    """Whether it was another file that was refused, for example a program that is not installed."""
    name = error.filename if isinstance(error.filename, (str, Path)) else path
    return not (Path(name).is_relative_to(path.parent) or path.is_relative_to(name))


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it, unless it is there.

    Raises:
        StorageError: the place refuses.
    """
    with clear_storage_errors(path):
        if path.is_relative_to(runs_root()):
            mark_runs_root()
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file or nothing.

    Raises:
        StorageError: full disk, missing permission, read-only file system, no folder there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    make_folder(path.parent)
    with clear_storage_errors(path):
        try:
            with open(part, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def checksum(data: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def save_tensors(path: Path, payload) -> None:
    """torch.save with the checksum in front, in one atomic file."""
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    data = buffer.getvalue()
    write_atomic(path, checksum(data).encode() + data)


def load_tensors(path: Path):
    """Read what `save_tensors` wrote: tensors, numbers, texts, and lists and dicts of those. Nothing in it is executed.

    Raises:
        Damaged: the checksum does not fit, or something else is in it.
    """
    raw = path.read_bytes()
    if checksum(raw[64:]).encode() != raw[:64]:
        raise Damaged(f"{path} is damaged (its checksum does not fit)")
    try:
        return torch.load(io.BytesIO(raw[64:]), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise Damaged(f"{path} holds something else than tensors and numbers ({first_line(error)})") from None


class RunFolder:
    """The folder of one run."""

    def __init__(self, name: str, identity: dict, root: Path | None = None):
        self.path = Path(root or runs_root()) / name
        self.identity = identity

    @contextlib.contextmanager
    def lock(self):
        """Hold the folder while computing; a second process waits here.

        The operating system drops the lock when its holder dies, however it dies (on file systems without
        such locks filelock writes a file and looks whether its writer lives); what a holder left
        half-written is swept up by the next one.
        """
        make_folder(self.path)
        lock = FileLock(self.path / ".lock", thread_local=False)
        with clear_storage_errors(self.path):
            try:
                lock.acquire(blocking=False)
            except Timeout:
                say(f"{self.path.name}: another process computes this run; waiting for it")
                lock.acquire()
        try:
            for part in self.path.glob(".*.part"):  # what a kill in the middle of a write left
                if part.is_dir() and not part.is_symlink():  # a trained model is a folder
                    shutil.rmtree(part)
                else:
                    part.unlink(missing_ok=True)
            yield self
        finally:
            lock.release()

    # --- while running ------------------------------------------------------

    def begin(self, record: dict | None = None) -> None:
        """Write the identity and, at a run's first step, where and when it was made."""
        text = strict_json(self.identity, indent=1, sort_keys=True)
        write_atomic(self.path / "config.json", text.encode())
        if record is not None:
            write_atomic(self.path / "record.json", strict_json(record, indent=1).encode())

    def record(self) -> dict:
        """What `begin` was told; empty for runs made before records were kept, and where the file is damaged."""
        try:
            found = json.loads((self.path / "record.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def save_checkpoint(self, payload) -> None:
        """Replace the checkpoint, atomically."""
        save_tensors(self.path / "checkpoint.pt", payload)

    def load_checkpoint(self):
        """The latest state, or None if there is none or it is damaged (said)."""
        path = self.path / "checkpoint.pt"
        if not path.exists():
            return None
        try:
            return load_tensors(path)
        except Damaged as error:
            say(f"{error}; this run starts again from its beginning")
            path.unlink()
            return None

    def drop_checkpoint(self) -> None:
        """Remove the checkpoint of what is finished."""
        (self.path / "checkpoint.pt").unlink(missing_ok=True)

    def watch(self, row: dict) -> None:
        """Append one line to metrics.jsonl, for people and live plots only."""
        with clear_storage_errors(self.path / "metrics.jsonl"):
            with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(strict_json(row) + "\n")

    # --- when finished ------------------------------------------------------

    def finish(self, tables: dict[str, pd.DataFrame], diverged: str = "") -> None:
        """Write the tables, then the file that declares them complete, or says why the run could not be."""
        sums = {}
        for name, table in tables.items():
            data = table.to_parquet(index=False, compression="zstd")
            sums[f"{name}.parquet"] = checksum(data)
            write_atomic(self.path / f"{name}.parquet", data)
        done = {"identity": self.identity, "files": sums, "finished": time.strftime("%FT%TZ", time.gmtime())}
        done |= {"diverged": diverged} if diverged else {}
        write_atomic(self.path / ("diverged.json" if diverged else "done.json"), strict_json(done, indent=1).encode())
        self.drop_checkpoint()

    def load(self) -> dict[str, pd.DataFrame] | None:
        """The tables of a run that ended; None if it has not, or they are damaged (then it is said and cleared)."""
        end = ended(self.path)
        if end is None:
            return None
        try:
            return self._read(end)
        except (Damaged, ValueError, KeyError, TypeError, AttributeError, OSError) as error:  # the file may hold anything
            say(f"{self.path.name}: {error}; this run alone is redone")
            end.unlink(missing_ok=True)
            return None

    def _read(self, end: Path) -> dict[str, pd.DataFrame]:
        done = json.loads(end.read_text(encoding="utf-8"))
        if not done["files"]:
            raise Damaged(f"{end.name} names no tables")
        tables = {}
        for file, expected in done["files"].items():
            data = (self.path / file).read_bytes()
            if checksum(data) != expected:
                raise Damaged(f"{file} is damaged (its checksum does not fit)")
            tables[Path(file).stem] = pd.read_parquet(io.BytesIO(data))
        return tables


def ended(folder: Path) -> Path | None:
    """The file that says how a run ended, finished or diverged; None while it has not."""
    return next((folder / name for name in ("done.json", "diverged.json") if (folder / name).exists()), None)


# --- the committed results --------------------------------------------------


def published_root() -> Path:
    """Where committed tables stand: data/results of the checkout."""
    return ROOT / "data" / "results"


def load_published(experiment: str, table: str) -> pd.DataFrame | None:
    """A committed table of an experiment, or None."""
    path = published_root() / experiment / f"{table}.parquet"
    return pd.read_parquet(path) if path.exists() else None


def read_lines(path: Path) -> pd.DataFrame:
    """The lines of a runs.csv. Hashes stay texts: one of digits alone is no number."""
    if not path.exists():
        return pd.DataFrame({"run": [], "method": []})
    return pd.read_csv(path, dtype={"run": str, "base_weights": str, "method_digest": str, "commit": str}, encoding="utf-8")


def without_timings(table: pd.DataFrame) -> pd.DataFrame:
    """Drop what may differ between two identical runs."""
    return table[~table.metric.str.startswith("timing.")].reset_index(drop=True)


def current_commit() -> str:
    """The commit of this checkout, "+" behind it if files differ from it; "unknown" outside git."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
