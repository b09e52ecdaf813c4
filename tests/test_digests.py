"""The code of a method is kept with its runs, and a difference is said."""

import functools
from dataclasses import dataclass, replace

import pandas as pd
import pytest

from polarity_lib import digests, results
from polarity_lib.config import StartConfig
from polarity_lib.digests import method_digest, problems_digest
from polarity_lib.experiments import Arm, load_finished, train_or_load
from polarity_lib.papers.baselines.methods import grpo
from polarity_lib.pretraining import CORPORA, base_policy
from polarity_lib.problems import WORLDS
from polarity_lib.registry import METHODS
from polarity_lib.results import RunFolder
from polarity_lib.study import again

SHORT = StartConfig("countdown", "smoke", steps=2, seed=0, batch=4)


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(results, "_SAID", set())


def written(tmp_path, text: str, name: str = "mine"):
    """A function whose source lies in a file."""
    path = tmp_path / f"code{len(list(tmp_path.iterdir()))}.py"
    path.write_text(text)
    names = {"__name__": "mine"}
    exec(compile(text, str(path), "exec"), names)
    return names[name]


BEFORE = '''
from polarity_lib.papers.baselines.methods import grpo
SCALE, SHIFT = 1.0, 2.0
def helper(x):
    return x * SCALE + SHIFT
def mine():
    return helper(grpo())
'''


@pytest.mark.parametrize(("old", "new", "same"), [
    ("x * SCALE", "x + SCALE", False),  # what it calls
    ("SHIFT = 1.0, 2.0", "SHIFT = 1.0, 3.0", False),  # a constant
    ("SHIFT = 1.0, 2.0", "SHIFT = 2.0, 1.0", False),  # two constants, exchanged
    ("helper(grpo())", "helper(grpo(kl=0.1))", False),  # its own
    ("def mine():", "def mine(weight=2):", False),  # a default
    ("def mine():", "# a comment\n\ndef mine():\n    'What it does.'\n", True),
    ("SCALE, SHIFT", "OTHER = 3\nSCALE, SHIFT", True),  # nothing that it uses
])  # fmt: skip
def test_the_digest_follows_what_computes_and_nothing_else(old, new, same, tmp_path):
    digests = [method_digest(written(tmp_path, text)) for text in (BEFORE, BEFORE.replace(old, new))]
    assert (digests[0] == digests[1]) is same


def test_a_cached_helper_and_a_record_of_options_are_followed():
    @dataclass(frozen=True)
    class Options:
        weight: float = 1.0

    def build(weight, power):
        @functools.cache
        def helper(x):
            return x**power

        def mine(options=Options(weight)):
            return helper(options.weight)

        return mine

    assert method_digest(build(1.0, 1)) == method_digest(build(1.0, 1))
    assert len({method_digest(build(*values)) for values in ((1.0, 1), (2.0, 1), (1.0, 2))}) == 3


def test_every_method_has_a_digest_of_its_own():
    digests = {name: method_digest(factory) for name, factory in METHODS.items()}
    assert len(set(digests.values())) == len(digests)


def test_an_edit_of_an_objective_is_an_edit_of_the_methods_that_use_it(monkeypatch):
    before = {name: method_digest(METHODS[name]) for name in ("gspo", "rloo")}
    monkeypatch.setattr("polarity_lib.objectives.gspo", lambda *args, **options: 0.0)
    assert method_digest(METHODS["gspo"]) != before["gspo"] and method_digest(METHODS["rloo"]) == before["rloo"]


def test_an_edited_method_says_so_when_its_old_run_loads(configure, own_runs, monkeypatch, capsys):
    config = configure("grpo", start=SHORT, steps=1)
    arm = Arm("test", "arm", config, "smoke")
    train_or_load([arm], reuse_published=False, progress=False)
    assert RunFolder(config.name, config.identity).record()["method_digest"] == method_digest(METHODS["grpo"])
    train_or_load([arm], reuse_published=False, progress=False)
    assert "edited" not in capsys.readouterr().err
    monkeypatch.setitem(METHODS._entries(), "grpo", lambda **options: replace(grpo(**options), source="mine"))
    for _ in range(2):  # said once
        train_or_load([arm], reuse_published=False, progress=False)
        load_finished([arm])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "edited" in line]
    assert "method grpo was edited since this run was made" in line and f"delete {own_runs / config.name}" in line


def test_runs_without_a_digest_load_in_silence(configure, own_runs, capsys):
    config = configure("grpo", start=SHORT, steps=1)
    arm = Arm("test", "arm", config, "smoke")
    train_or_load([arm], reuse_published=False, progress=False)
    for text in ("{}", "[]", '{"method_digest": 3}', "half"):
        (own_runs / config.name / "record.json").write_text(text)
        train_or_load([arm], reuse_published=False, progress=False)
    assert "edited" not in capsys.readouterr().err


def test_a_world_with_other_numbers_says_so_when_its_old_run_loads(configure, own_runs, monkeypatch, capsys):
    config = configure("grpo", start=SHORT, steps=1)
    arm = Arm("test", "arm", config, "smoke")
    train_or_load([arm], reuse_published=False, progress=False)
    kept = RunFolder(config.name, config.identity).record()["problems_digest"]
    assert kept == problems_digest(config.world, config.seed) != problems_digest(config.world, config.seed + 1)
    world = WORLDS[config.world]
    later = replace(world, draw=lambda split, count, seed: world.draw(split, count, seed + 1))
    monkeypatch.setitem(WORLDS, config.world, later)
    problems_digest.cache_clear()
    load_finished([arm])
    monkeypatch.undo()
    problems_digest.cache_clear()
    assert f"world {config.world} was edited since this run was made ({kept}, now problems-" in capsys.readouterr().err


def test_a_base_policy_says_so_when_its_texts_would_be_others_now(own_runs, monkeypatch, capsys):
    base_policy(SHORT)
    base_policy(SHORT)
    assert "edited" not in capsys.readouterr().err
    corpus = CORPORA[SHORT.corpus]
    backwards = replace(corpus, write=lambda count, rng, **more: corpus.write(count, rng, **more)[::-1])
    monkeypatch.setitem(CORPORA, SHORT.corpus, backwards)
    base_policy(SHORT)
    said = capsys.readouterr().err
    assert f"corpus {SHORT.corpus} was edited" in said and f"delete {own_runs / 'starts' / SHORT.name}" in said


def test_an_edit_that_was_shown_to_change_no_number_is_not_spoken_of(tmp_path, monkeypatch, capsys):
    now = digests.method_digest(METHODS["grpo"])
    rows = [("grpo", "code-same", now, 0.0), ("grpo", "code-other", now, 1e-3)]
    table = pd.DataFrame(rows, columns=["method", "was", "now", "largest_difference"])
    table.to_csv(tmp_path / "recomputed.csv", index=False)
    monkeypatch.setattr(digests, "RECOMPUTED", tmp_path / "recomputed.csv")
    digests.compared.cache_clear()
    try:
        for was, said in (("code-same", False), ("code-other", True)):
            monkeypatch.setattr(results, "_SAID", set())
            digests.say_if_edited({"method": "grpo", "world": "nowhere", "seed": 0}, {"method_digest": was}, "remedy")
            assert ("was edited" in capsys.readouterr().err) == said
    finally:
        digests.compared.cache_clear()


def test_a_run_computed_again_is_compared_value_by_value(monkeypatch):
    table = pd.DataFrame({"step": [0, 1, 1], "metric": ["a", "a", "timing.run"], "value": [1.0, 2.0, 3.0]})
    monkeypatch.setattr(again, "published_run", lambda run: {"metrics": table})
    assert again.largest_difference("x", table.assign(value=[1.0, 2.0, 9.0])) == 0
    assert again.largest_difference("x", table.assign(value=[1.0, 2.5, 3.0])) == 0.5
    assert again.largest_difference("x", table.iloc[:1]) == float("inf")
    assert again.largest_difference("x", table.assign(value=[1.0, float("nan"), 3.0])) == float("inf")
