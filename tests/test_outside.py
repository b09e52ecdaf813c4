"""Where people, machines and other programs are met: one line, strict JSON, and nobody's locale."""

import ast
import errno
import json
import os
import subprocess
import sys

import pytest

from polarity_lib import outside
from polarity_lib.__main__ import COMMANDS, main
from polarity_lib.config import ConfigError
from polarity_lib.outside import cores_allowed, end_in_one_line, strict_json
from polarity_lib.problems import sets
from polarity_lib.results import ROOT, Damaged, StorageError


def failing(error):
    def command(*args):
        raise error

    return command


ERRORS = [
    (ConfigError("no such name"), 2, "error: no such name"),
    (StorageError("the disk is full"), 1, "error: the disk is full"),
    (Damaged("half a file"), 1, "error: half a file"),
    (sets.ProblemSetError("not on this machine"), 1, "error: not on this machine"),
    (PermissionError(errno.EACCES, "Permission denied", "/there/file"), 1, "error: /there/file: Permission denied"),
    (KeyboardInterrupt(), 130, "interrupted; the same command continues from here"),
]


@pytest.mark.parametrize(("error", "status", "line"), ERRORS, ids=[type(e).__name__ for e, _, _ in ERRORS])
def test_every_command_line_ends_in_the_same_line(error, status, line, monkeypatch, capsys):
    monkeypatch.setitem(COMMANDS, "publish", failing(error))
    assert main(["publish"]) == status and capsys.readouterr().err == line + "\n"
    monkeypatch.setattr(sets, "fetch", failing(error))
    assert sets.main(["fetch"]) == status and capsys.readouterr().err == line + "\n"


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        end_in_one_line(failing(ZeroDivisionError()))
    with pytest.raises(OSError):
        end_in_one_line(failing(OSError(errno.EINVAL, "Invalid argument")))


def test_a_misspelt_problem_set_is_one_line(capsys):
    assert sets.main(["fetch", "gsm8"]) == 2
    said = capsys.readouterr().err
    assert "Did you mean 'gsm8k'" in said and said.count("\n") == 1


def test_a_reader_who_has_seen_enough_ends_it_quietly():
    done = subprocess.run(f"{sys.executable} -m polarity_lib.problems.sets list | head -n 1", shell=True, cwd=ROOT,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.stderr == b"" and done.stdout.count(b"\n") == 1


def test_numbers_that_json_has_no_word_for_are_null():
    value = {"a": float("nan"), 1: [float("inf"), 2.5], "c": (True, None, "é")}
    assert json.loads(strict_json(value), parse_constant=failing(AssertionError())) == {
        "a": None, "1": [None, 2.5], "c": [True, None, "é"]}


def test_only_the_cores_of_this_job_count(monkeypatch):
    monkeypatch.setattr(outside.os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    assert cores_allowed() == 3
    monkeypatch.delattr(outside.os, "sched_getaffinity")
    monkeypatch.setattr(outside.os, "cpu_count", lambda: 6)
    assert cores_allowed() == 6


# ---------------------------------------------------------------- whatever the locale


def opened_as_text(node) -> bool:
    """Whether a call opens a file as text without saying its encoding."""
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    words = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
    mode = words.get("mode") or (getattr(node.args[1], "value", "") if len(node.args) > 1 else "")
    if name == "open" and isinstance(node.func, ast.Name):
        return "b" not in str(mode) and "encoding" not in words
    return name in ("read_text", "write_text") and "encoding" not in words or words.get("text") is True


@pytest.mark.parametrize("path", [p for folder in ("polarity_lib", "benchmarks") for p in sorted((ROOT / folder).rglob("*.py"))
                                  if p.parent.name != "verification"], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_text_file_is_opened_in_utf_8(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and opened_as_text(node)] == []


def test_a_terminal_that_is_not_utf_8_stops_nothing():
    code = ("from polarity_lib import __main__ as m; m.COMMANDS['pages'] = lambda args: print('\\xe9'); "
            "raise SystemExit(m.main(['pages']))")
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT,
                          env=os.environ | ascii_only | {"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"?\n", b"")
