"""What notebooks call, called without a notebook."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from polarity_lib import mechanism
from polarity_lib.config import ConfigError
from polarity_lib.methods import method_named
from polarity_lib.policy import build_tokenizer
from polarity_lib.study import notebook
from polarity_lib.study.execution import declared_parameters, find_notebook


GOOD = declared_parameters(find_notebook("00"))  # what the tour has by default


def test_versions_name_libraries_device_and_commit(capsys):
    notebook.versions()
    said = capsys.readouterr().out
    assert "torch 2" in said and "device:" in said and "commit:" in said


def test_good_parameters_pass():
    assert {"scale", "seeds", "reuse_published", "figures_dir"} <= set(GOOD)
    notebook.check_parameters("00_tour", GOOD | {"something": "else"})  # globals() hold more than parameters


@pytest.mark.parametrize("name, value, told", [
    ("scale", "tinny", "Did you mean 'tiny'"),
    ("seeds", "0,1", "int wanted"),
    ("seeds", 0, "whole number"),
    ("seeds", True, "int wanted"),
    ("reuse_published", "yes", "bool wanted"),
    ("figures_dir", "", "folder"),
])
def test_bad_parameters_are_refused(name, value, told):
    with pytest.raises(ConfigError, match=told):
        notebook.check_parameters("00_tour", GOOD | {name: value})


def test_a_parameter_that_papermill_passed_and_nobody_declared_is_refused():
    notebook.check_parameters("00_tour", GOOD | {"In": ["", "# Parameters\nseeds = 2\n"]})
    with pytest.raises(ConfigError, match="'sedes'.*Did you mean 'seeds'"):
        notebook.check_parameters("00_tour", GOOD | {"In": ["", "# Parameters\nsedes = 2\n", "x = 1"]})


def test_shading_follows_sign_and_size():
    page = notebook.shade_tokens(["a", "b", "c"], [0.5, -1.0, 0.0]).data
    assert page.count("<span") == 3
    assert f"background:{notebook.RIGHT}60" in page  # half of the largest: 0.75 * 255 / 2 = 96
    assert f"background:{notebook.WRONG}bf" in page and page.count("dotted") == 1
    assert "-1.00000" in page


def test_token_text_cannot_become_a_tag():
    page = notebook.shade_tokens(["<b>"], [1.0], caption="3>1 & 2").data
    assert "&lt;b&gt;" in page and "3&gt;1 &amp; 2" in page


def test_zero_weights_and_no_tokens_can_be_shown():
    assert "00;" in notebook.shade_tokens(["a"], [0.0]).data
    assert "<span" not in notebook.shade_tokens([], []).data


@pytest.mark.parametrize("weights", [[1.0, 2.0], [float("nan")]])
def test_weights_must_fit_the_tokens(weights):
    with pytest.raises(ValueError, match="1 tokens need 1 finite"):
        notebook.shade_tokens(["a"], weights)


def test_rollouts_share_one_scale():
    rollouts = mechanism.hand_made([True, False], [0, 0], [1, 3])
    weights_NT = mechanism.token_weights(method_named("grpo"), rollouts)
    page = notebook.shade_rollouts(rollouts, weights_NT, build_tokenizer(), rows=[0, 1], title="GRPO").data
    assert page.count("<span") == 4 and "GRPO" in page
    assert page.count("bf;") == 1  # only the one-token answer has the largest weight


def test_start_and_ends_in_one_table():
    metrics = pd.DataFrame([
        {"arm": arm, "seed": seed, "step": step, "metric": "x", "value": value + seed}
        for arm, end in (("psr", 3.0), ("nsr", 5.0)) for seed in (0, 2) for step, value in ((0, 1.0), (9, end))])
    table = notebook.before_after(metrics, ["x"])
    assert table.x.to_dict() == {"start": 2.0, "psr": 4.0, "nsr": 6.0}


def test_the_record_is_plain_json(tmp_path, monkeypatch):
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path))
    record = {"a": np.float64(0.5), "b": torch.tensor(2), "c": [np.bool_(True), float("nan")], "d": {"e": "text"},
              "f": torch.eye(2)}
    path = notebook.save_record(record, "00_tour", "smoke")
    assert path == tmp_path / "notebooks" / "00_tour-smoke.json"
    kept = json.loads(path.read_text())["record"]
    assert kept == {"a": 0.5, "b": 2, "c": [True, None], "d": {"e": "text"}, "f": [[1.0, 0.0], [0.0, 1.0]]}


# ---------------------------------------------------------------- what papermill lets through

CELL = 'scale = "tiny"\nseeds = 1\nreuse_published = True\nfigures_dir = "x"'


def test_a_name_that_papermill_passed_and_nobody_declared_stops_with_its_near_miss():
    values = {"scale": "tiny", "seeds": 1, "reuse_published": True, "figures_dir": "x", "methods": "grpo"}
    notebook.check_parameters("00_tour", values | {"In": ["", CELL, '# Parameters\nseeds = 1\n']})
    with pytest.raises(ConfigError, match="Unknown parameter of 00_tour 'sale'. Did you mean 'scale'"):
        notebook.check_parameters("00_tour", values | {"In": ["", CELL, '# Parameters\nsale = "tiny"\nseeds = 1\n']})


@pytest.mark.parametrize("name, value", [("reuse_published", "false"), ("methods", 3), ("seeds", 1.0), ("figures_dir", None)])
def test_every_declared_parameter_has_its_type(name, value):
    values = {"scale": "tiny", "seeds": 1, "reuse_published": True, "figures_dir": "x", "methods": "grpo", name: value}
    with pytest.raises(ConfigError, match=f"Parameter {name} is .* by default, so .* does not fit"):
        notebook.check_parameters("00_tour", values)


@pytest.mark.notebook
def test_bare_papermill_with_a_misspelt_parameter_stops(tmp_path):
    papermill = pytest.importorskip("papermill")
    source = notebook.find_notebook("00_tour")
    with pytest.raises(papermill.PapermillExecutionError, match="Did you mean 'scale'"):
        papermill.execute_notebook(str(source), str(tmp_path / "out.ipynb"), parameters={"sale": "tiny"}, cwd=str(source.parent),
                                   progress_bar=False)
