"""Benchmarks run, compare like with like and leave their tables in the runs folder; what they measure is not tested."""

import json
import os
import subprocess
import sys

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
