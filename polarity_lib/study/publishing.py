"""Finished runs -> the committed tables. The only thing that writes data/results and figures.

    data/results/<experiment>/metrics.parquet    arm, seed, run, step, metric, value
                              problems.parquet   right answers per problem
                              rollouts.parquet   readable answers of seed 0
                              runs.csv           one line per run: what it was, where it ran, how long

Only runs of the committed study count: each experiment's own arms and seeds
at scale tiny. A published run that is absent from data/runs stays; one whose
configuration is no longer part of its experiment goes. Timings leave the
tables for a column of runs.csv, so two machines of one type give equal files.
"""

import io
import json
import shutil
from pathlib import Path

import pandas as pd

from polarity_lib.digests import say_if_edited
from polarity_lib.experiments import TABLES, Arm, experiment, published_run
from polarity_lib.registry import EXPERIMENTS
from polarity_lib.results import (
    ROOT, Damaged, RunFolder, checksum, ended, published_root, read_lines, runs_root, say, without_timings, write_atomic,
)
from polarity_lib.study.costs import publish_costs
from polarity_lib.study.plan import Settings, study_jobs
from polarity_lib.verification.second_worlds import world_disagreement

LARGEST = 1_000_000  # bytes of a committed file
TIMES = ("timing.sample", "timing.verify", "timing.update")


def publish(scale: str = "tiny") -> None:
    """Write data/results from the finished runs of the committed study.

    Every file of every run is checked first; nothing is written if one is damaged.

    Raises:
        Damaged: a run folder whose files are not what its run wrote.
    """
    found = {name: read_finished(name, scale) for name in EXPERIMENTS}
    for name, runs in found.items():
        publish_experiment(name, scale, runs)
    copy_figures_and_tables(Settings(scale=scale, full=True))
    copy_benchmarks()
    jobs = study_jobs(Settings(scale=scale, full=True, reuse=False))
    publish_costs(jobs, {arm.config.start.name: arm.config.start for job in jobs for arm in job.runs}.values())


def arms_of(name: str, scale: str) -> list[Arm]:
    """The arms of the committed study, arm after arm, seeds inside."""
    arms = experiment(name, scale=scale, seeds=EXPERIMENTS[name].seeds)
    order = {arm: i for i, arm in enumerate(dict.fromkeys(a.name for a in arms))}
    return sorted(arms, key=lambda a: (order[a.name], a.seed))


def read_finished(name: str, scale: str) -> dict[str, dict]:
    """Tables of every finished run of an experiment, by run hash."""
    found = {}
    for arm in arms_of(name, scale):
        folder = runs_root() / arm.config.name
        if ended(folder):
            found[arm.config.hash] = read_checked(folder, arm.config.identity)
            kept = RunFolder(arm.config.name, arm.config.identity).record()
            say_if_edited(arm.config.identity, kept, f"To publish the edited one, delete {folder} and run again")
    return found


def read_checked(folder: Path, identity: dict) -> dict[str, pd.DataFrame]:
    """A run's tables, each compared with the checksum its run left.

    Raises:
        Damaged: says which file of which run.
    """
    try:
        done = json.loads(ended(folder).read_text(encoding="utf-8"))
        if done["identity"] != json.loads(json.dumps(identity)):
            raise Damaged("its identity is not that of its name")
        tables = {}
        for file, expected in done["files"].items():
            data = (folder / file).read_bytes()
            if checksum(data) != expected:
                raise Damaged(f"the checksum of {file} does not fit")
            tables[Path(file).stem] = pd.read_parquet(io.BytesIO(data))
        return {table: tables[table] for table in TABLES}
    except (Damaged, OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # the last two: JSON of another shape
        raise Damaged(f"Not published: run {folder.name} is damaged ({error}). Nothing was written; "
                      f"`make study FULL=1` notices and repeats that run alone.") from None


def publish_experiment(name: str, scale: str, runs: dict[str, dict]) -> None:
    """Merge an experiment's finished runs with those already published."""
    folder = published_root() / name
    before = {table: _read(folder / f"{table}.parquet") for table in TABLES}
    lines_before = read_lines(folder / "runs.csv")
    tables: dict[str, list] = {table: [] for table in TABLES}
    lines, new = [], 0
    for arm in arms_of(name, scale):
        run = arm.config.hash
        kept = _rows(before, arm)
        mine = committed_tables(arm, runs[run]) if run in runs else None
        if mine is not None and not (len(kept["metrics"]) and _equal(mine, kept)):
            lines.append(run_line(arm, runs[run]))
            new += 1
        elif len(kept["metrics"]):
            mine = kept
            lines.append(lines_before[(lines_before.run == run) & (lines_before.arm == arm.name)].iloc[0].to_dict())
        elif shared := shared_run(arm):
            mine, line = shared
            lines.append(line)
            new += 1
        else:
            continue
        for table in TABLES:
            tables[table].append(mine[table])
    if not lines:
        return
    gone = set(lines_before.run) - {line["run"] for line in lines}
    for table, parts in tables.items():
        joined = pd.concat([p for p in parts if len(p)] or parts[:1], ignore_index=True)
        write_table(folder / f"{table}.parquet", joined)
    write_atomic(folder / "runs.csv", pd.DataFrame(lines).to_csv(index=False).encode())
    wanted = len(arms_of(name, scale))
    say(f"{name}: {len(lines)} of {wanted} runs published, {new} of them new or changed"
        + (f", {len(gone)} dropped (no longer part of the experiment)" if gone else ""))


def _read(path: Path) -> pd.DataFrame | None:
    return pd.read_parquet(path) if path.exists() else None


def _rows(tables: dict, arm: Arm) -> dict[str, pd.DataFrame]:
    """The published rows of one arm and seed, if they are of the same run."""
    return {name: pd.DataFrame() if table is None else
            table[(table.run == arm.config.hash) & (table.arm == arm.name)].reset_index(drop=True)
            for name, table in tables.items()}


def shared_run(arm: Arm) -> tuple[dict[str, pd.DataFrame], dict] | None:
    """Tables and line of a run that another experiment has published, under this arm's name; None if none has."""
    found = published_run(arm.config.hash)
    if found is None:
        return None
    lines = read_lines(published_root() / found["metrics"].experiment.iloc[0] / "runs.csv")
    labels = labels_of(arm)
    tables = {name: rows.drop(columns=[*labels]).reset_index(drop=True) for name, rows in found.items()}
    return committed_tables(arm, tables), lines[lines.run == arm.config.hash].iloc[0].to_dict() | labels


def _equal(left: dict, right: dict) -> bool:
    return all(len(left[t]) == len(right[t]) and (not len(left[t]) or left[t].equals(right[t][left[t].columns]))
               for t in TABLES)


def labels_of(arm: Arm) -> dict:
    """The columns that say whose rows these are."""
    return {"experiment": arm.experiment, "arm": arm.name, "seed": arm.seed, "run": arm.config.hash, "scale": arm.scale}


def committed_tables(arm: Arm, tables: dict) -> dict[str, pd.DataFrame]:
    """A run's tables as they are committed: labelled, without timings, readable answers of seed 0 only."""
    labels = labels_of(arm)
    first = arm.config.hash in {a.config.hash for a in _first_replicas(arm)}
    chosen = {
        "metrics": without_timings(tables["metrics"]),
        "problems": tables["problems"],
        "rollouts": tables["rollouts"] if first else tables["rollouts"].iloc[:0],
    }
    return {name: pd.concat([pd.DataFrame(labels, index=t.index), t], axis=1) for name, t in chosen.items()}


def _first_replicas(arm: Arm) -> list[Arm]:
    return experiment(arm.experiment, arm.name, arm.scale, seeds=1)


def run_line(arm: Arm, tables: dict) -> dict:
    """What a run was, where it was published from, its seconds of training (evaluation not counted), and
    the share of its stored rollouts on which a second checker differs from the first."""
    config = arm.config
    record = RunFolder(config.name, config.identity).record()
    return {
        **labels_of(arm),
        "world": config.world, "method": config.method, "options": json.dumps(dict(config.options)),
        "learning_rate": config.learning_rate, "steps": config.steps,
        "identity": json.dumps(config.identity, sort_keys=True),
        **{name: json.dumps(kept) if isinstance(kept, list) else kept for name, kept in record.items()},
        "seconds": round(training_seconds(tables["metrics"]), 1),
        "checker_disagreement": world_disagreement(config.world, tables["rollouts"]),
    }


def training_seconds(metrics: pd.DataFrame) -> float:
    """Sum over steps of the timings, which the table holds as means between curve points."""
    rows = metrics[metrics.metric.isin(TIMES)].sort_values("step")
    steps = rows.groupby("metric").step.diff().fillna(rows.step)
    return float((rows.value * steps).sum())


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Parquet with the strongest zstd; repeated words cost nearly nothing there."""
    data = table.to_parquet(index=False, compression="zstd", compression_level=19)
    if len(data) > LARGEST:
        say(f"{path.name} of {path.parent.name} has {len(data):,} bytes; committed files should stay under {LARGEST:,}")
    write_atomic(path, data)


def copy_benchmarks() -> None:
    """What benchmarks of this machine measured, to where it is committed."""
    for path in sorted((runs_root() / "benchmarks").glob("*.json")):
        copy = ROOT / "benchmarks" / "results" / path.name
        write_atomic(copy, path.read_bytes())
        say(f"copied {copy.relative_to(ROOT)}")


def copy_figures_and_tables(settings: Settings) -> None:
    """Figures and result files that the full study's notebooks made, to where they are committed."""
    for source, target in ((settings.figures, ROOT / "figures"), (settings.tables, published_root())):
        for path in sorted(p for p in source.rglob("*") if p.is_file() and p.name != "claims.md"):  # docs/claims.md is its place
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            say(f"copied {copy.relative_to(ROOT)}")
