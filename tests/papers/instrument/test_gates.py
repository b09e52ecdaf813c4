"""Gates with a pencil; data/worlds.json says what the committed runs say."""

import math

import numpy as np
import pandas as pd
import pytest

from polarity_lib.config import ConfigError
from polarity_lib.experiments import Runs, experiment
from polarity_lib.papers.instrument import figures, gates
from polarity_lib.papers.instrument.experiments import CANDIDATES, FIRST, RARITIES, SEEDS
from polarity_lib.problems import world_named
from polarity_lib.registry import EXPERIMENTS

NOISE = np.array([0.0, 0.01, -0.01, 0.0])


def world(base=0.2, gain=0.3, gap=0.01, handicap=-0.05, twin=0.0, late=0.0, clipped=0.002, tail=0.7) -> Runs:
    """Four replicates of a made-up world."""
    rows = []

    def put(arm, metric, values, step=100):
        rows.extend({"arm": arm, "seed": FIRST + s, "step": step, "metric": metric, "value": v, "run": arm, "scale": "tiny"}
                    for s, v in enumerate(np.broadcast_to(values, SEEDS)))

    grpo = base + gain
    for arm, value in {"base": base, "grpo": grpo, "grpo_quarter_tossed": grpo + handicap, "grpo_twin": grpo + twin}.items():
        put(arm, "test/pass@1", value + (NOISE if arm.startswith("grpo_") else 0))
    put("base", "test/pass@64", tail)
    put("grpo", "pool/pass@1", grpo + gap)
    put("grpo", "test/length", 30)
    put("grpo", "update/clip_share", clipped)
    for step, share in ((0, 0.0), (75, 1 - late), (100, 1.0)):
        put("grpo", "validation/pass@1", base + share * gain, step)
    return Runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), [])


def failed(seconds=60.0, **changes) -> list[str]:
    found = gates.gates(world(**changes), {FIRST: seconds})
    return [name for name, gate in found.items() if not gate.passed]


def test_a_good_world_passes_every_gate():
    assert failed() == [] and len(gates.gates(world(), {FIRST: 60.0})) == 9


@pytest.mark.parametrize("changes, gate", [
    ({"gain": 0.07}, "moves"),
    ({"base": 0.09, "gain": 0.071}, "moves"),  # below 0.12: 0.8 x 0.09 = 0.072 is asked
    ({"gap": 0.151}, "generalises"),  # half of 0.3
    ({"base": 0.51}, "room at 1"),
    ({"base": 0.07, "gain": 0.3}, "room at 1"),
    ({"tail": 0.95}, "room in the tail"),
    ({"late": 0.21}, "settles"),
    ({"clipped": 0.0009}, "clips"),
    ({"handicap": -0.005}, "sees a handicap"),  # the interval of four seeds reaches 1.3 points to both sides
    ({"handicap": 0.05}, "sees a handicap"),
    ({"twin": 0.05}, "is not fooled by luck"),
    ({"seconds": 361.0}, "is affordable"),
])
def test_each_gate_fails_alone(changes, gate):
    assert failed(**changes) == [gate]


def test_a_weak_base_is_asked_for_times_not_points():
    assert failed(base=0.09, gain=0.073) == []  # under 8 points, over 1.8 times


def test_answers_must_be_long_enough_for_token_methods():
    runs = world()
    assert gates.takes_token_methods(runs)
    runs.metrics.loc[runs.metrics.metric == "test/length", "value"] = 19
    assert not gates.takes_token_methods(runs)


def test_a_world_where_nothing_is_right_fails_and_is_drawn():
    runs = world(base=0.0, gain=0.0, tail=0.0, handicap=0.0)
    found = gates.gates(runs, {FIRST: 60.0})
    assert not any(found[name].passed for name in ("moves", "room at 1", "room in the tail", "settles", "sees a handicap"))
    assert (figures.told(found["settles"]), figures.told(found["room in the tail"])) == ("nan", "0 … 0")


def test_one_replicate_admits_nothing():
    runs = world()
    one = Runs(runs.metrics[runs.metrics.seed == FIRST], runs.problems, runs.rollouts, [])
    found = gates.gates(one, {FIRST: 60.0})
    assert not found["sees a handicap"].passed and not found["is not fooled by luck"].passed
    assert math.isnan(found["sees a handicap"].found[1])


def test_groups_that_are_all_wrong_are_those_that_pass_at_k_misses():
    runs = world()
    rows = [{"arm": arm, "seed": FIRST + s, "step": 100, "metric": "test/pass@16", "value": value, "run": arm, "scale": "tiny"}
            for arm, value in (("base", 0.55), ("grpo", 0.9)) for s in range(SEEDS)]
    runs = Runs(pd.concat([runs.metrics, pd.DataFrame(rows)]), runs.problems, runs.rollouts, [])
    found = gates.all_wrong(runs, 16, [FIRST, FIRST + 1])
    assert found == {"size": 16, "at the start": [0.45, 0.45], "under GRPO at the end": [0.1, 0.1]}
    assert (gates.group_size("latent"), gates.group_size("rare")) == (8, 16)


# ---------------------------------------------------------------- overlap


def test_operands_forget_signs_order_and_target():
    chain, search = world_named("latent").draw("test", 1, 0)[0], world_named("search").draw("test", 1, 0)[0]
    assert gates.operands(chain) == tuple(sorted(int(n) for n in chain.prompt.rstrip(":").replace("-", "+").split("+")))
    assert gates.operands(search) == tuple(sorted(int(d) for d in search.prompt.partition(">")[0]))


@pytest.mark.parametrize("name", CANDIDATES)
def test_no_test_problem_is_a_pool_problem_and_seeds_share_none(name):
    found = gates.overlap(name)
    assert found["same problem"] == found["another seed's test"] == 0
    assert 0 < found["same operands"] <= 1


# ---------------------------------------------------------------- the file


def test_a_changed_world_keeps_its_earlier_try():
    old = {"admitted": False, "runs": ["a"], "gates": {"moves": {}}, "tries": []}
    again = gates.with_tries(old, {"admitted": True, "runs": ["b"], "gates": {}, "tries": []})
    assert again["admitted"] and again["tries"] == [{"admitted": False, "runs": ["a"], "gates": {"moves": {}}}]
    assert gates.with_tries(again, {"admitted": True, "runs": ["b"], "gates": {}, "tries": []})["tries"] == again["tries"]
    assert gates.with_tries(None, old) == old


def test_the_committed_file_says_what_the_committed_runs_say():
    known = gates.committed_worlds()
    assert set(known) <= set(CANDIDATES)
    for name in CANDIDATES:
        measured = gates.world_record(name)
        assert (measured is None) == (name not in known), f"{name}: in the file exactly if its runs are committed"
    for name in known:
        assert known[name] == gates.with_tries(known[name], gates.world_record(name))
        assert known[name]["admitted"] == all(gate["passed"] for gate in known[name]["gates"].values())
    assert gates.admitted() == [name for name in known if known[name]["admitted"]] and "latent" in gates.admitted()


def test_gates_use_no_seed_of_a_comparison():
    for name in CANDIDATES:
        arms = experiment(f"gates_{name}", seeds=EXPERIMENTS[f"gates_{name}"].seeds)
        assert {arm.seed for arm in arms} == set(range(FIRST, FIRST + SEEDS))
        assert {arm.config.method for arm in arms} == {"base", "grpo"}


def test_an_unknown_candidate_names_its_neighbours():
    with pytest.raises(ConfigError, match="latent"):
        gates.world_record("latnt")


# ---------------------------------------------------------------- figures


def test_numbers_of_a_gate_are_told_short():
    assert figures.told(gates.Gate("", 0.07092, True)) == "0.0709"
    assert figures.told(gates.Gate("", [0.7581, 0.6428, 0.7156], True)) == "0.643 … 0.758"


def test_the_figures_draw_whatever_is_there():
    one = world()
    runs = {"good": Runs(one.metrics, one.problems, one.rollouts, experiment("gates_latent", seeds=1))}
    assert len(figures.plot_gates({"good": gates.gates(one, {FIRST: 60.0})}).axes) == 1
    assert len(figures.plot_worlds(runs).axes) == len(figures.plot_controls(runs).axes) == 1
    spread = figures.spreads(runs)
    assert spread.loc["good"].to_numpy() == pytest.approx(100 * NOISE.std(ddof=1) * np.ones(2))
    assert figures.plot_power(spread).axes[0].get_ylim()[0] == 0


def test_the_dial_turns_the_base_alone_and_latents_own_rarity_is_latent():
    arms = {arm.name: arm.config for arm in experiment("dial")}
    assert set(arms) == {f"{r:g}/{name}" for r in RARITIES for name in ("base", "grpo")}
    usual = {arm.name: arm.config for arm in experiment("gates_latent")}
    assert arms["0.05/grpo"].hash == usual["grpo"].hash and arms["0.05/base"].hash == usual["base"].hash
    assert dict(arms["0.005/grpo"].start.mixture) == {"direct": 0.995, "worked": 0.005}
    assert len({arms[f"{r:g}/grpo"].start.name for r in RARITIES}) == len(RARITIES)
    assert {c.but(start=usual["grpo"].start).hash for name, c in arms.items() if name.endswith("grpo")} == {usual["grpo"].hash}
