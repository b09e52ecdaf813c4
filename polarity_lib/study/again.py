"""Were a method's numbers changed when its code was? One committed run of it is computed again and compared.

    python -m polarity_lib.study.again      recompute one run per edited method, write data/recomputed.csv

A run's name does not hold its method's code, so that mending a comment does not rename it; the digest kept beside it tells an
edit (`digests.py`). Here the edit is put to the test: where the run ends with the numbers that are committed, to the last bit,
loading says nothing more of that edit. Whose numbers differ keeps its line, and its runs should be made anew.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from polarity_lib.digests import RECOMPUTED, compared, method_digest
from polarity_lib.experiments import experiment, published_run
from polarity_lib.provenance import processor
from polarity_lib.registry import EXPERIMENTS, METHODS
from polarity_lib.results import RunFolder, published_root, read_lines, say, without_timings, write_atomic
from polarity_lib.training import train


def edited() -> pd.DataFrame:
    """The shortest run made on such a processor, of every method and digest that is its own no more and was not compared yet."""
    lines = pd.concat([read_lines(path) for path in sorted(published_root().glob("*/runs.csv"))], ignore_index=True)
    lines = lines[lines.method.isin(list(METHODS)) & lines.method_digest.notna() & (lines.scale == "tiny")]
    now = {method: method_digest(METHODS[method]) for method in lines.method.unique()}
    old = lines[lines.method_digest != lines.method.map(now)].assign(now=lines.method.map(now))
    old = old[[(r.method, r.method_digest, r.now) not in compared() for r in old.itertuples()]]
    old = old[old.machine == processor()]  # another kind of processor rounds differently
    return old.sort_values("seconds").drop_duplicates(["method", "method_digest"])


def largest_difference(run: str, again: pd.DataFrame) -> float:
    """Between a committed run's metrics and those computed now, times left out; infinite where one has rows the other lacks."""
    before = without_timings(published_run(run)["metrics"])
    both = before.merge(without_timings(again), on=["step", "metric"], how="outer", suffixes=("_before", "_now"), indicator=True)
    if (both._merge != "both").any() or (both.value_before.isna() != both.value_now.isna()).any():
        return float("inf")
    return float(np.nanmax(np.abs(both.value_before - both.value_now), initial=0.0))


def compute_again(line: pd.Series) -> dict:
    """A row of data/recomputed.csv."""
    arms = experiment(line.experiment, "all", "tiny", EXPERIMENTS[line.experiment].seeds)
    config = next(arm.config for arm in arms if arm.config.hash == line.run)
    say(f"{line.method}: {config.name}, {line.seconds:.0f} s when it was made")
    with tempfile.TemporaryDirectory() as folder:
        again = train(config, RunFolder(config.name, config.identity, Path(folder)))["metrics"]
    return {"method": line.method, "was": line.method_digest, "now": line.now, "run": line.run, "machine": processor(),
            "largest_difference": largest_difference(line.run, again)}


if __name__ == "__main__":
    rows = pd.read_csv(RECOMPUTED) if RECOMPUTED.exists() else pd.DataFrame()
    for _, line in edited().iterrows():
        rows = pd.concat([rows, pd.DataFrame([compute_again(line)])], ignore_index=True)
        write_atomic(RECOMPUTED, rows.to_csv(index=False).encode())
        print(rows.iloc[-1].to_string())
