"""Two machines, the same runs: what is compared with what."""

import numpy as np
import pandas as pd
import pytest

from polarity_lib.experiments import experiment, get_run
from polarity_lib.papers.instrument import figures, machines
from polarity_lib.results import RunFolder, published_root, read_lines


def twice() -> pd.DataFrame:
    """GRPO one and two points higher on the other machine, NSR three and two, the base as it was; lengths must not count."""
    again = {"base": (0.0, 0.0), "grpo": (0.01, 0.02), "nsr": (0.03, 0.02)}
    rows = [{"arm": arm, "seed": seed, "metric": metric, "committed": 0.5, "again": 0.5 + value * factor}
            for arm, values in again.items() for seed, value in enumerate(values)
            for metric, factor in (("test/pass@1", 1), ("test/length", 100))]
    return pd.DataFrame(rows)


def test_a_change_is_the_second_machine_minus_the_first_and_a_contrast_is_paired_by_seed():
    found = machines.apart(twice())
    assert list(found) == ["base", "grpo", "nsr", "nsr minus grpo"]
    np.testing.assert_allclose(found["grpo"], [1.0, 2.0])
    np.testing.assert_allclose(found["nsr minus grpo"], [2.0, 0.0], atol=1e-9)


@pytest.mark.parametrize("machine, compared", [("another", 1), (None, 0)])
def test_runs_of_one_type_of_machine_are_not_compared(own_runs, monkeypatch, machine, compared):
    base = experiment(machines.EXPERIMENT, "base", "smoke")[0].config
    ends = get_run(experiment(machines.EXPERIMENT, "base", "smoke")[0], reuse_published=False)["metrics"]
    mine = RunFolder(base.name, base.identity).record()
    line = {"run": base.hash, "machine": machine or mine["machine"], "base_weights": mine["base_weights"]}
    monkeypatch.setattr(machines, "read_lines", lambda _: pd.DataFrame([line]))
    monkeypatch.setattr(machines, "load_published", lambda *_: ends.assign(run=base.hash))
    monkeypatch.setattr(machines, "METRICS", ("test/pass@1",))
    found = machines.compare_machines("smoke")
    assert len(found) == compared and (found.committed == found.again).all()


def test_the_committed_table_names_two_machines_and_runs_of_the_study():
    table = machines.committed_machines()
    if table.empty:
        pytest.skip("not measured yet")
    assert set(table.arm) == set(machines.ARMS) and table.seed.nunique() == machines.SEEDS
    assert not set(table.machine_committed) & set(table.machine_again)
    assert set(table.run) <= set(read_lines(published_root() / machines.EXPERIMENT / "runs.csv").run)


def test_the_figure_shows_every_arm_and_contrast():
    ax = figures.plot_machines(twice(), twin=1.5).axes[0]
    assert len(ax.get_yticklabels()) == 4
