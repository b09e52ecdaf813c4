"""Run folders: locked while computed, written atomically, checked when read.

    data/runs/<name>/
        config.json      the run's identity
        checkpoint.pt    latest state, one checksummed file
        metrics.jsonl    a line per step, for watching; never read back
        *.parquet        the finished tables
        done.json        written last: checksum of every table

A run that was killed anywhere continues from its checkpoint. A file whose
checksum does not fit is reported and that run alone is redone.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import sys
import time
from pathlib import Path

import pandas as pd
import torch

ROOT = Path(os.environ.get("POLARITY_ROOT", Path(__file__).resolve().parent.parent))


class StorageError(OSError):
    """The disk refused; the message is one line a person can act on."""


class Damaged(Exception):
    """A file in a run folder is not what was written there."""


def say(text: str) -> None:
    """One line to the person watching, out of the way of piped output."""
    print(text, file=sys.stderr, flush=True)


def runs_root() -> Path:
    """Where runs go: POLARITY_RUNS, else data/runs in the checkout."""
    return Path(os.environ.get("POLARITY_RUNS", ROOT / "data" / "runs"))


@contextlib.contextmanager
def clear_storage_errors(path: Path):
    """A full disk or a missing permission becomes one line a person can act on."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EACCES: "permission was denied",
            errno.EPERM: "permission was denied",
            errno.EROFS: "the file system is read-only",
            errno.ENOTDIR: "a part of the path is not a folder",
        }
        if error.errno not in reasons:
            raise
        raise StorageError(
            f"Cannot write {path}: {reasons[error.errno]}. Nothing half-written was left; "
            "free some space or set POLARITY_RUNS to another folder, then run the same command."
        ) from None


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file or nothing.

    Raises:
        StorageError: full disk, missing permission, read-only file system.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with clear_storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
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
    """Read what `save_tensors` wrote.

    Raises:
        Damaged: the checksum does not fit.
    """
    raw = path.read_bytes()
    if checksum(raw[64:]).encode() != raw[:64]:
        raise Damaged(f"{path} is damaged (its checksum does not fit)")
    return torch.load(io.BytesIO(raw[64:]), weights_only=False)


class RunFolder:
    """The folder of one run."""

    def __init__(self, name: str, identity: dict, root: Path | None = None):
        self.path = Path(root or runs_root()) / name
        self.identity = identity
        self._metrics = None

    @contextlib.contextmanager
    def lock(self):
        """Hold the folder while computing; a second process waits here.

        The operating system drops the lock when its holder dies, however it dies; what it left
        half-written is swept up by the next one.
        """
        with clear_storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self.path / ".lock", "w")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"{self.path.name}: another process computes this run; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            for part in self.path.glob(".*.part"):  # what a kill in the middle of a write left
                part.unlink(missing_ok=True)
            yield self

    # --- while running ------------------------------------------------------

    def begin(self) -> None:
        """Write the identity."""
        text = json.dumps(self.identity, indent=1, sort_keys=True)
        write_atomic(self.path / "config.json", text.encode())

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
            with open(self.path / "metrics.jsonl", "a") as file:
                file.write(json.dumps(row) + "\n")

    # --- when finished ------------------------------------------------------

    def finish(self, tables: dict[str, pd.DataFrame]) -> None:
        """Write the tables, then the file that declares them complete."""
        sums = {}
        for name, table in tables.items():
            data = table.to_parquet(index=False, compression="zstd")
            sums[f"{name}.parquet"] = checksum(data)
            write_atomic(self.path / f"{name}.parquet", data)
        done = {"identity": self.identity, "files": sums, "finished": time.strftime("%FT%TZ", time.gmtime())}
        write_atomic(self.path / "done.json", json.dumps(done, indent=1).encode())
        self.drop_checkpoint()

    def load(self) -> dict[str, pd.DataFrame] | None:
        """The finished tables; None if unfinished or damaged (then it is said and cleared)."""
        if not (self.path / "done.json").exists():
            return None
        try:
            return self._read()
        except (Damaged, ValueError, KeyError, TypeError, OSError) as error:  # the file may hold anything
            say(f"{self.path.name}: {error}; this run alone is redone")
            (self.path / "done.json").unlink(missing_ok=True)
            return None

    def _read(self) -> dict[str, pd.DataFrame]:
        done = json.loads((self.path / "done.json").read_text())
        tables = {}
        for file, expected in done["files"].items():
            data = (self.path / file).read_bytes()
            if checksum(data) != expected:
                raise Damaged(f"{file} is damaged (its checksum does not fit)")
            tables[Path(file).stem] = pd.read_parquet(io.BytesIO(data))
        return tables


# --- the committed results --------------------------------------------------


def published_root() -> Path:
    """Where committed tables stand: data/results of the checkout."""
    return ROOT / "data" / "results"


def load_published(experiment: str, table: str) -> pd.DataFrame | None:
    """A committed table of an experiment, or None."""
    path = published_root() / experiment / f"{table}.parquet"
    return pd.read_parquet(path) if path.exists() else None


def without_timings(table: pd.DataFrame) -> pd.DataFrame:
    """Drop what may differ between two identical runs."""
    return table[~table.metric.str.startswith("timing.")].reset_index(drop=True)
