"""A run's identity: stable names, and refusals before anything is computed."""

import dataclasses
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.config import (
    SCALES, ConfigError, OfflineConfig, RunConfig, StartConfig, choose, content_hash, derive_seed, scale_named,
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
])  # fmt: skip
def test_a_run_that_cannot_be_right_is_refused(field, value):
    with pytest.raises(ConfigError) as refusal:
        PLAIN.but(**{field: value})
    assert "\n" not in str(refusal.value)
    assert repr(value) in str(refusal.value) or str(value) in str(refusal.value)


def test_the_settings_of_every_scale_are_fields_of_a_run():
    for scale in SCALES.values():
        assert PLAIN.but(**scale.run).steps == scale.run["steps"]
