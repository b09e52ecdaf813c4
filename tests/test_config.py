"""A run's identity: stable names, and refusals before anything is computed."""

import dataclasses
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.config import (
    CORPORA, SCALES, SIZES, SOURCES, ConfigError, ModelConfig, OfflineConfig, RunConfig, StartConfig, choose, content_hash,
    derive_seed, scale_named, within,
)  # fmt: skip

PLAIN = RunConfig("nsr", "countdown3", StartConfig("countdown", "tiny", 1000, 0), 0, 200, 5e-5)


def test_names_are_what_they_were():
    # If this fails, every finished run has lost its name: change FORMAT knowingly, or undo.
    assert PLAIN.name == "countdown3-nsr-s0-029a92a0a8"
    assert PLAIN.start.name == "countdown-tiny-1000-s0-e18fdc2fd2"


def test_seeds_are_what_they_were():
    assert derive_seed(3, "rollouts", 17) == 5006548048172830185


def test_a_field_added_later_changes_no_name():
    @dataclass(frozen=True)
    class Later(RunConfig):
        room_temperature: float = 20.0

    fields = {f.name: getattr(PLAIN, f.name) for f in dataclasses.fields(PLAIN)}
    assert Later(**fields).hash == PLAIN.hash
    assert Later(**fields, room_temperature=30.0).hash != PLAIN.hash


def test_every_field_counts():
    other = {
        "method": "psr", "world": "countdown4", "start": dataclasses.replace(PLAIN.start, seed=1),
        "seed": 1, "steps": 100, "learning_rate": 1e-4, "options": (("kl", 0.1),),
        "prompts_per_step": 16, "rollouts_per_prompt": 4, "minibatches": 2, "pool_size": 64,
        "optimizer": "sgd", "grad_clip": 0.0, "temperature": 0.9, "longest_answer": 24, "verdicts": "tossed", "stream": 1,
        "matched_to": "029a92a0a8", "curve_every": 10, "curve_problems": 50, "curve_samples": 8,
        "final_problems": 50, "final_samples": 32, "eval_temperature": 0.6, "eval_top_p": 0.95, "checkpoint_every": 10,
        "probes": ("faithful",), "watches": ("ways",), "offline": OfflineConfig(64, 8),
    }  # fmt: skip
    assert set(other) == {f.name for f in dataclasses.fields(RunConfig)}
    hashes = {PLAIN.but(**{name: value}).hash for name, value in other.items()}
    assert len(hashes | {PLAIN.hash}) == len(other) + 1


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_the_hash_does_not_depend_on_the_order_of_fields(record):
    assert content_hash(record) == content_hash(dict(reversed(record.items())))


@given(st.lists(st.integers(0, 50) | st.sampled_from(["train", "curve", "test"]), min_size=1, max_size=4))
def test_seeds_fit_every_generator(labels):
    assert 0 <= derive_seed(*labels) < 2**63


def test_a_misspelt_name_gets_the_near_misses():
    with pytest.raises(ConfigError, match=r"scale 'tinny'\. Did you mean 'tiny'\? Valid: paper, small, smoke, tiny\."):
        scale_named("tinny")
    with pytest.raises(ConfigError, match=r"^Unknown arm 'zzzzz'\. Valid: nsr, psr\.$"):
        choose("arm", "zzzzz", ("psr", "nsr"))


@pytest.mark.parametrize(("field", "value"), [
    ("steps", -1), ("steps", 2.0), ("steps", "200"),
    ("learning_rate", 0.0), ("learning_rate", -1e-5), ("learning_rate", float("nan")),
    ("prompts_per_step", 0), ("rollouts_per_prompt", 0), ("minibatches", 0), ("curve_every", 0),
    ("checkpoint_every", 0), ("final_samples", 1.5), ("curve_samples", -1),
    ("curve_problems", 0), ("final_problems", 0),
    ("pool_size", 31), ("pool_size", -1), ("minibatches", 5),
    ("temperature", 0.0), ("temperature", float("nan")), ("eval_temperature", -1.0), ("grad_clip", -1.0),
    ("optimizer", "adam"), ("verdicts", "flip"),
    ("learning_rate", "1e-5"), ("learning_rate", float("inf")), ("learning_rate", True), ("eval_top_p", "1"),
    ("grad_clip", float("inf")), ("pool_size", 64.5), ("steps", True), ("seed", 1.0), ("seed", -1), ("stream", "1"),
    ("probes", "cool"), ("probes", ["cool"]), ("watches", "ways"), ("options", {"kl": 0.1}), ("options", (("kl",),)),
])  # fmt: skip
def test_a_run_that_cannot_be_right_is_refused(field, value):
    with pytest.raises(ConfigError) as refusal:
        PLAIN.but(**{field: value})
    assert "\n" not in str(refusal.value)
    assert repr(value) in str(refusal.value) or str(value) in str(refusal.value)


@pytest.mark.parametrize(("changes", "message"), [
    ({"corpus": "countdow"}, "Unknown corpus 'countdow'. Did you mean 'countdown'"),
    ({"size": "tinny"}, "Unknown policy size 'tinny'. Did you mean 'tiny'"),
    ({"seed": "0"}, "seed must be a whole number from 0 on, not '0'"), ({"seed": True}, "seed must be a whole number"),
    ({"steps": 0}, "steps must be a whole number from 1 on"), ({"batch": 2.5}, "batch must be a whole number"),
    ({"rate": -1}, "rate must be finite and above 0, not -1"),
    ({"mixture": (("wroked", 0.75),)}, "Unknown source of texts 'wroked'. Did you mean 'worked'"),
    ({"mixture": (("worked", 0.0),)}, "mixture needs a weight above zero"),
    ({"mixture": (("worked", -1.0),)}, "the weight of worked must be"),
    ({"mixture": "worked=1"}, "a tuple of pairs such as"), ({"mixture": {"worked": 1.0}}, "a tuple of pairs such as"),
    ({"corpus": "countdown", "mixture": (("worked", 1.0),)}, "its mixture must be ()"),
    ({"model": ModelConfig("a/b")}, "a start that reads a/b has the corpus ''"),
])  # fmt: skip
def test_a_start_that_cannot_be_right_is_refused(changes, message):
    with pytest.raises(ConfigError) as refusal:
        StartConfig(**{"corpus": "latent", "size": "tiny", "steps": 10, "seed": 0} | changes)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


def test_the_names_of_a_start_are_those_that_mean_something():
    from polarity_lib import policy, pretraining
    from polarity_lib.problems import chain

    assert sorted(CORPORA) == sorted(pretraining.CORPORA) and SIZES == tuple(policy.SIZES) and SOURCES == chain.STYLES


@pytest.mark.parametrize(("interval", "words", "inside", "outside"), [
    ("[0, 1]", "between 0 and 1", (0, 0.5, 1), (-1e-9, 1.1)), ("(0, 1]", "above 0 and at most 1", (1e-9, 1), (0, 2)),
    ("(0, 1)", "above 0 and below 1", (0.5,), (0, 1.0)), ("(1, inf)", "finite and above 1", (1.5,), (1, float("inf"))),
    ("[0, inf)", "finite and at least 0", (0, 1e300), (float("inf"), float("nan"), "1", True, None, -1)),
])  # fmt: skip
def test_an_interval_holds_what_it_says(interval, words, inside, outside):
    for value in inside:
        within("x", value, interval)
    for value in outside:
        with pytest.raises(ConfigError) as refusal:
            within("x", value, interval)
        assert str(refusal.value) == f"x must be {words}, not {value!r}."


def test_the_settings_of_every_scale_are_fields_of_a_run():
    for scale in SCALES.values():
        assert PLAIN.but(**scale.run).steps == scale.run["steps"]
