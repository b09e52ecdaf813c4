"""Benchmarks run, compare like with like and leave their tables in the runs folder; what they measure is not tested."""

import importlib
import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from polarity_lib.results import ROOT



@pytest.mark.slow
@pytest.mark.parametrize("name", ["sampling", "scaling", "step_memory", "rl_step", "waiting"])
def test_a_benchmark_writes_its_rows_where_runs_go(name, tmp_path):
    where = os.environ | {"POLARITY_RUNS": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--quick"], env=where,
                          capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((tmp_path / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
    assert {"machine", "ours", "peer", "ratio", "versions"} <= set(record) and record["measured"]
    for row in record["measured"]:
        assert row["ours"] > 0 and (row["peer"] is None) == (row["ratio"] is None)
        for gap in row.get("largest_difference", {}).values():  # two ways to the same numbers
            assert gap < 1e-3


def test_a_preview_took_as_long_as_any_job_ran(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    preview = importlib.import_module("preview")
    monkeypatch.setattr(preview, "benchmarks", lambda: tmp_path)
    for name, seconds, end in (("a", 10, 110), ("b", 4, 108), ("notebook.c", 5, 205)):  # 100-110, 104-108 and 200-205
        path = tmp_path / f"{name}.tsv"
        pd.DataFrame({"s": [seconds]}).to_csv(path, sep="\t", index=False)
        os.utime(path, (end, end))
    assert preview.busy(preview.job_times()) == 15
