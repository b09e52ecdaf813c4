"""The shape of the library: arrows go down only, and no paper knows another."""

import os

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from polarity_lib.results import ROOT


def test_arrows_go_down_only(monkeypatch, capsys):
    """The contracts stand in pyproject.toml, so that `lint-imports` says the same."""
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename=os.fspath(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out
