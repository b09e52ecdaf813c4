"""TensorBoard is asked for by a folder's name; without it nothing changes."""

import sys

import pytest

from polarity_lib.boards import VARIABLE, board
from polarity_lib.config import ConfigError
from polarity_lib.results import RunFolder, without_timings
from polarity_lib.training import train


def test_without_the_variable_nothing_is_written(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # importing it would fail
    monkeypatch.chdir(tmp_path)
    with board("run") as show:
        show(0, {"a": 1.0})
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_line_before_any_computing(monkeypatch, tmp_path, configure):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "boards"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    config = configure()
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        train(config, RunFolder("run", config.identity, tmp_path), "cpu")
    assert not (tmp_path / "run").exists()


def test_what_is_shown_is_what_the_plain_files_hold(monkeypatch, tmp_path, configure):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = configure()
    plain = train(config, RunFolder("plain", config.identity, tmp_path), "cpu")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "boards"))
    watched = train(config, RunFolder("watched", config.identity, tmp_path), "cpu")
    assert without_timings(plain["metrics"]).equals(without_timings(watched["metrics"]))
    events = EventAccumulator(str(tmp_path / "boards" / config.name))
    events.Reload()
    norms = [event.value for event in events.Scalars("update/norm")]
    assert norms == pytest.approx(watched["updates"].norm.tolist(), rel=1e-6)
    assert [event.step for event in events.Scalars("validation/pass@1")] == [0, 2]
    assert len(events.Scalars("test/pass@1")) == 1
