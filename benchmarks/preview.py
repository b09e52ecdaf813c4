"""What a person waits for who types `make study` and nothing else: notebook by notebook, the study's first figure, its end.

    POLARITY_RUNS=<runs folder of a preview that ended, from an empty folder, with nothing beside it> python benchmarks/preview.py

Nothing is run here: Snakemake left the seconds of every job. A notebook's `training`: the runs and base policies that it
was the first to need. Jobs go side by side, so the parts add up to more than the whole, which is the time in which any job
ran: a pause between two calls does not count, nor do the seconds that Snakemake itself takes.
"""

import sys

import pandas as pd
from common import keep

from polarity_lib.outside import cores_allowed
from polarity_lib.study.costs import benchmarks
from polarity_lib.study.plan import Settings, notebooks, study_jobs


def job_times() -> pd.DataFrame:
    """Seconds, start and end of every job (clock time), by name."""
    rows = {}
    for path in benchmarks().glob("*.tsv"):
        seconds, end = float(pd.read_csv(path, sep="\t").s.iloc[0]), path.stat().st_mtime
        rows[path.name.removesuffix(".tsv")] = {"seconds": seconds, "start": end - seconds, "end": end}
    return pd.DataFrame(rows).T


def busy(times: pd.DataFrame) -> float:
    """Seconds in which at least one job ran."""
    total, until = 0.0, 0.0
    for job in times.sort_values("start").itertuples():
        total += max(0.0, job.end - max(job.start, until))
        until = max(until, job.end)
    return total


def main():
    settings, times = Settings(), job_times()
    began = times.start.min()
    jobs = study_jobs(settings)
    first = {}  # job or base policy -> the notebook that needed it first
    for job in jobs:
        for name in (job.name, *(f"start.{start}" for start in job.starts(settings.reuses))):
            first.setdefault(name, job.notebook)
    needed = [*first, *(f"notebook.{path.stem}" for path in notebooks())]
    if absent := [name for name in needed if name not in times.index]:
        sys.exit(f"{benchmarks()} is not that of a whole preview by this checkout: it has no time of {', '.join(absent[:3])}")
    first_figure = times.end[times.index.str.startswith("notebook.")].min()
    rows = [{"what": "make study, all", "unit": "s", "ours": round(busy(times), 1), "runs": len(jobs)},
            {"what": "make study, first figure", "unit": "s", "ours": round(first_figure - began, 1)}]
    for path in notebooks():
        trained = [times.seconds[name] for name, notebook in first.items() if notebook == path.stem]
        cells = times.seconds[f"notebook.{path.stem}"]
        rows.append({"what": f"notebook {path.stem}", "unit": "s", "ours": round(cells + sum(trained), 1),
                     "cells": round(cells, 1), "training": round(sum(trained), 1)})
    rows = [{"peer": None, "ratio": None} | row for row in rows]
    keep("preview", rows, ("torch", "snakemake", "papermill"), cores=cores_allowed())


if __name__ == "__main__":
    main()
