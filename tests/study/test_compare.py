"""`make compare`: from an empty folder to the figure, as a new user would; and every way in which a method can be unfit."""

import os
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from polarity_lib.__main__ import main
from polarity_lib.config import ConfigError
from polarity_lib.papers.baselines import readings
from polarity_lib.registry import METHODS
from polarity_lib.results import ROOT
from polarity_lib.study import checking, compare
from polarity_lib.study.compare import Comparison

TOY = '''from dataclasses import replace
import torch
from polarity_lib.methods import Method, per_rollout
from polarity_lib.papers.baselines.methods import grpo

def half(rewards_N):
    return torch.where(rewards_N > 0, 1.0, -0.5)

def toy() -> Method:
    return replace(grpo(), name="toy", advantage=per_rollout(half, grouped=False))
'''


@pytest.fixture
def toy(tmp_path, own_runs):
    """A file of ten lines in an empty folder."""
    assert len(TOY.splitlines()) == 10
    path = tmp_path / "mine.py"
    path.write_text(TOY)
    return f"{path}:toy"


# ---------------------------------------------------------------- finding it


def test_a_method_is_found_by_name_or_in_a_file_and_an_edited_one_is_another(toy, tmp_path):
    assert checking.find_method("grpo") == "grpo" and checking.label_of("grpo") == "grpo"
    name = checking.find_method(toy)
    assert checking.label_of(name) == "toy" and name in METHODS and checking.find_method(toy) == name
    (tmp_path / "mine.py").write_text(TOY.replace("-0.5", "-0.25"))
    assert checking.find_method(toy) != name
    (tmp_path / "mine.py").write_text(TOY + "# a remark\nMETHODS = {'toy': toy}\n")
    assert checking.find_method(str(tmp_path / "mine.py")) == name


@pytest.mark.parametrize("text, hint", [
    ("", "holds no METHODS"), ("raise ValueError('no')", "cannot be read: ValueError: no"),
    ("METHODS = {'a': 1, 'b': 2}", "holds a, b: name one"),
])
def test_a_file_that_cannot_be_right_is_one_line(text, hint, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError, match=hint):
        checking.find_method(str(tmp_path / "mine.py"))


def test_misspelt_names_are_refused(toy, tmp_path):
    for text, hint in ((toy.replace(":toy", ":tay"), "Unknown method of"), (f"{tmp_path}/none.py", "no such file"),
                       ("grop", "Did you mean 'grpo'")):
        with pytest.raises(ConfigError, match=hint):
            checking.find_method(text)
    for fields, hint in (({"worlds": ("gems",)}, "Unknown world"), ({"against": ("grpo",)}, "other than grpo"),
                         ({"against": ()}, "AGAINST names"), ({"seeds": 0}, "whole number"), ({"worlds": ()}, "WORLDS names")):
        with pytest.raises(ConfigError, match=hint):
            Comparison("grpo", **{"against": ("psr",), "worlds": ("latent",)} | fields)


# ---------------------------------------------------------------- unfit methods

UNFIT = {
    "advantage gives shape \\[12\\], where \\[12, 6\\] is wanted": (
        "advantage", "lambda rollouts, rewards_N, progress: rewards_N"),
    "advantage gives a number that is not finite": (
        "advantage", "lambda rollouts, rewards_N, progress: rollouts.mask_NT * float('nan')"),
    "advantage raises ZeroDivisionError": ("advantage", "lambda rollouts, rewards_N, progress: 1 / 0"),
    "advantage reads extras\\['values'\\], which `needs` does not declare": (
        "advantage", "lambda rollouts, rewards_N, progress: rollouts.extras['values']"),
    "token_loss reads extras\\['entropies'\\], which `needs` does not declare": (
        "token_loss", "lambda logp, old, A, mask, extras: -A * logp * extras['entropies']"),
    "token_loss gives shape \\[12\\]": ("token_loss", "lambda logp, old, A, mask, extras: (-A * logp).sum(1)"),
    "token_loss does not hang on the log-probabilities": ("token_loss", "lambda logp, old, A, mask, extras: A * mask"),
    "token_loss \\(its gradient\\) gives a number that is not finite": (
        "token_loss", "lambda logp, old, A, mask, extras: (A * (logp - logp.detach()).abs().sqrt())"),
    "reward gives shape \\[\\]": ("reward", "lambda rollouts: rollouts.correct_N.float().mean()"),
    "reward gives list, where a tensor is wanted": ("reward", "lambda rollouts: [1.0]"),
    "keep gives torch.float32": ("keep", "lambda rewards_N: rewards_N"),
    "aggregate gives shape \\[12\\]": ("aggregate", "lambda loss_NT, mask_NT, counts: loss_NT.sum(1)"),
}


@pytest.mark.parametrize("hint", UNFIT)
def test_an_unfit_part_is_named_in_one_line_before_the_first_batch(hint, tmp_path, own_runs, capsys):
    part, code = UNFIT[hint]
    (tmp_path / "mine.py").write_text(TOY.replace("advantage=per_rollout(half, grouped=False)", f"{part}={code}"))
    with pytest.raises(ConfigError, match=f"^toy: {hint}"):
        checking.check_method(checking.find_method(f"{tmp_path}/mine.py:toy"))
    assert main(["compare", f"{tmp_path}/mine.py:toy", "--scale", "smoke"]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: toy: ") and len(told.err.strip().splitlines()) == 1 and told.out == ""
    assert not own_runs.exists()


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_of_the_study_is_fit(name):
    checking.check_method(name)


def test_what_a_collect_of_its_own_leaves_is_made_up_and_what_the_loop_gives_is_declared(tmp_path):
    """A method that collects may read what it has left there; one that does not has nothing there to read."""
    reads = "lambda rollouts, rewards_N, progress: rollouts.extras[{!r}]"
    for name, collect, hint in (("chances", "lambda *_: None", ""), ("chances", "grpo().collect", "raises KeyError: 'chances'"),
                                ("values", "lambda *_: None", "which `needs` does not declare")):
        code = f"advantage={reads.format(name)}, collect={collect}"
        (tmp_path / "mine.py").write_text(TOY.replace("advantage=per_rollout(half, grouped=False)", code))
        found = checking.find_method(f"{tmp_path}/mine.py:toy")
        if not hint:
            checking.check_method(found)
            continue
        with pytest.raises(ConfigError, match=hint):
            checking.check_method(found)


# ---------------------------------------------------------------- what it costs, what is run


def test_the_cost_is_told_first_and_nothing_is_computed(toy, own_runs, capsys):
    assert main(["compare", toy, "--worlds", "latent,rare", "--seeds", "2", "--dry-run", "--cores", "1"]) == 0
    told = capsys.readouterr().out
    assert "toy against grpo, psr, scale tiny, 2 seeds: at most about" in told and "the dial" in told
    assert "rare has not shown that it can tell methods apart" in told
    assert not list(own_runs.glob("*-s*")) and not (own_runs / "compare").exists()


def test_what_is_run():
    asked = Comparison("nsr", ("grpo", "psr"), ("latent", "search"), seeds=5)
    found = compare.arms(asked, compare.guessed_rates(asked))
    assert set(found) == {f"{r}/{w}" for r in ("own", "one", "over", "controls") for w in asked.worlds} | {"dial/latent"}
    assert [len({a.seed for a in found[f"{r}/latent"]}) for r in ("own", "one", "over", "controls", "dial")] == [5, 5, 3, 4, 5]
    # The study's own runs serve.
    from polarity_lib.experiments import experiment
    study = {a.config.hash for name in ("psr_nsr_latent", "discovery") for a in experiment(name, seeds=5)}
    assert {a.config.hash for a in found["own/latent"]} | {a.config.hash for a in found["dial/latent"]} <= study
    matched = [a for a in found["controls/latent"] if a.matched]
    assert {a.name for a in matched} == {"nsr matched"} and {a.matched.method for a in matched} == {"grpo"}


def test_a_method_that_chooses_by_verdicts_has_no_control_that_lies_about_them():
    for method, lies in (("nsr", {"nsr tossed", "nsr flipped"}), ("dapo", set())):
        asked = Comparison(method, ("grpo",), ("latent",), seeds=2)
        names = {a.name for a in compare.arms(asked, compare.guessed_rates(asked))["controls/latent"]}
        assert names == {method, "grpo", f"{method} matched"} | lies
        tests = readings.control_tests(method, "grpo", "latent", sorted(names), 32)
        assert {test.name.partition(" verdicts")[0] for test in tests[:-1]} == {lie.partition(" ")[2] for lie in lies}


def test_rates_of_a_comparison_are_kept_in_its_own_folder(toy, own_runs, monkeypatch):
    asked = compare.asked_for(toy, "grpo", "latent", 2)
    calls = []

    def grid(world, method, scale, most=None):
        calls.append(method)
        return {1e-5: {"start": 0.1, "end": 0.2, "collapsed": False}, 2e-5: {"start": 0.1, "end": 0.3, "collapsed": False}}

    monkeypatch.setattr(compare, "search", grid)
    before = (ROOT / "data" / "rates.json").read_text()
    for _ in range(2):
        rates = compare.tune_all(asked)
    assert rates["latent", asked.method] == 2e-5 and rates["latent", "grpo"] == compare.world_rate("latent", "grpo")
    assert calls == [asked.method] and (ROOT / "data" / "rates.json").read_text() == before
    compare.tune_all(compare.asked_for(toy, "grpo", "latent,search", 3))  # a grid of latent serves here too
    assert calls == [asked.method] * 2 and asked.rates_file.parent == asked.folder.parent


def test_other_worlds_or_seeds_overwrite_no_result(own_runs):
    one = Comparison("nsr", ("grpo",), ("latent",), 2)
    others = [replace(one, worlds=("search",)), replace(one, worlds=("latent", "search")), replace(one, seeds=3)]
    folders = [asked.folder for asked in (one, *others)]
    assert len(set(folders)) == 4 and {folder.parent for folder in folders} == {one.rates_file.parent}
    assert [folder.name for folder in folders] == ["latent-n2", "search-n2", "latent-search-n2", "latent-n3"]
    for asked in (one, others[0]):
        table = compare.judged(asked, compare.load_all(asked, compare.guessed_rates(asked)))
        compare.write_report(asked, table, [])
    assert all(len(list(own_runs.rglob(name))) == 2 for name in ("verdicts.csv", "report.md"))
    assert "above grpo, latent" in (one.folder / "report.md").read_text()
    assert "above grpo, search" in (others[0].folder / "report.md").read_text()


def test_more_cores_make_the_told_tuning_no_shorter(toy, own_runs, monkeypatch):
    """An hour a run, and one for each base policy: what is told can be added up by hand."""
    monkeypatch.setattr(compare, "run_seconds", lambda config: 3600.0)
    monkeypatch.setattr(compare, "start_seconds", lambda start: 3600.0)
    asked = compare.asked_for(toy, "grpo", "latent", 2)

    def hours(cores):
        lines = compare.cost(asked, cores).splitlines()
        rates, last = next(line for line in lines if " rates, one core " in line), lines[-1]
        runs = sum(float(line.split()[-1]) for line in lines if line.startswith("latent") and line != rates)
        starts = float(next(line for line in lines if "base policies" in line).split()[-1])
        return float(rates.split()[-1]), runs, starts, float(last.partition("about ")[2].split()[0])

    alone, four = hours(1), hours(4)
    assert alone[0] == four[0] == 8  # four rates on two seeds
    assert four[1] == pytest.approx(alone[1] / 4, abs=0.05) and alone[1] > 10
    assert alone[2] > 2 and four[2] == 2 + (alone[2] - 2) / 4  # those of the two validation seeds are made while tuning
    for told in (alone, four):
        assert told[3] == pytest.approx(sum(told[:3]), abs=0.1)


# ---------------------------------------------------------------- the whole way


@pytest.mark.slow
def test_from_an_empty_folder_to_the_figure(toy, own_runs, tmp_path):
    environment = os.environ | {"POLARITY_RUNS": str(own_runs), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "polarity_lib", "compare", toy, "--against", "grpo", "--worlds", "latent", "--seeds", "1",
               "--scale", "smoke", "--cores", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    above = next((own_runs / "compare").iterdir())
    folder = above / "latent-n1"
    made = {path.name for path in folder.iterdir()}
    assert {path.name for path in above.iterdir()} == {"latent-n1", "rates.json"}
    assert {"verdicts.csv", "report.md", "compare_latent.png", "compare_dial.png"} <= made
    table = pd.read_csv(folder / "verdicts.csv", keep_default_na=False)
    primary = table[table.primary.astype(str) == "True"]
    assert primary.subtest.tolist() == ["above grpo, latent", "sooner than grpo, r = 0.005"]
    assert (table[table.subtest != ""].verdict != "not run at this scale").all()
    assert "toy against grpo" in done.stdout and "==> toy is above grpo." in done.stdout
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0 and "step" not in again.stderr and "done in" not in again.stderr  # everything was kept
