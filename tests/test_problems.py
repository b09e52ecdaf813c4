"""Questions: solvable, in one split only, the same every time they are drawn."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.config import ConfigError, StartConfig
from polarity_lib.policy import MAX_POSITIONS
from polarity_lib.pretraining import CORPORA, write_texts
from polarity_lib.problems import SPLITS, WORLDS, chain, countdown, split_of, world_named
from polarity_lib.problems.base import OWN_TESTS, is_test_of, owner_of
from polarity_lib.verification.worlds import CHECKERS

DRAWN_SPLITS = ("train", "validation", "test")


def reachable(numbers):
    """Every value that + - * can make of the numbers, each used once: two numbers become one, again and again."""
    if len(numbers) == 1:
        return set(numbers)
    found = set()
    for a, b in itertools.permutations(range(len(numbers)), 2):
        rest = [n for i, n in enumerate(numbers) if i not in (a, b)]
        x, y = numbers[a], numbers[b]
        for value in (x + y, x - y, x * y):
            found |= reachable([value, *rest])
    return found


@pytest.mark.parametrize("world", ["countdown3", "countdown4", "countdown4_large_targets"])
def test_every_countdown_problem_can_be_solved(world):
    low, high = (100, 199) if world.endswith("targets") else (1, 99)
    for split in DRAWN_SPLITS:
        for problem in world_named(world).draw(split, 60, 0):
            digits, target = problem.prompt.rstrip(":").split(">")
            assert len(digits) == problem.level and list(digits) == sorted(digits)
            assert int(target) == int(problem.gold) and low <= int(target) <= high
            assert int(target) in reachable([int(d) for d in digits])


@pytest.mark.parametrize("world", [n for n, w in WORLDS.items() if w.family == "chain"])
def test_chain_gold_answers_are_what_python_computes(world):
    for problem in world_named(world).draw("test", 100, 0):
        plain = problem.prompt.rstrip(":")
        if "[" in plain:  # the remark in brackets is to be ignored
            before, _, rest = plain.partition("[")
            plain = before + rest.partition("]")[2]
        plain = re.sub(r"\b0(?=[0-9])", "", plain.rpartition(";")[2])  # an untagged attack stands in front; padding
        assert eval(plain) == int(problem.gold)
        tagged = world in chain.ATTACKS and chain.ATTACKS[world][2]
        assert ("[" in problem.prompt) == (tagged or world == "chain_distractor")
        assert (" " in problem.prompt) == (world in ("chain_spaced", "latent_spaced"))
        if world == "chain_large_operands":
            assert all(31 <= abs(t) <= 60 for t in chain.read_question(plain))  # trained on 1 to 30


@pytest.mark.parametrize("world", WORLDS)
def test_splits_do_not_overlap(world):
    keys = {split: {p.key for p in world_named(world).draw(split, 60, 0)} for split in DRAWN_SPLITS}
    for split, found in keys.items():
        assert len(found) == 60  # distinct
        assert {split_of(key) for key in found} == {split}
    assert not keys["train"] & keys["test"] and not keys["validation"] & (keys["train"] | keys["test"])


@given(st.lists(st.integers(1, 9), min_size=3, max_size=4), st.integers(1, 99), st.randoms())
def test_permuted_countdown_problems_are_one_problem(digits, target, random):
    # The prompt itself is sorted, so a permutation cannot even be written.
    shuffled = random.sample(digits, len(digits))
    keys = {countdown._key("".join(map(str, sorted(d))), target) for d in (digits, shuffled)}
    assert len(keys) == 1


@given(st.lists(st.integers(-30, 30).filter(bool), min_size=2, max_size=6), st.randoms())
def test_permuted_chains_share_a_split(terms, random):
    assert chain._key(terms) == chain._key(random.sample(terms, len(terms)))


def test_split_shares_cover_everything_once():
    edges = sorted(SPLITS.values())
    assert edges[0][0] == 0 and edges[-1][1] == 100
    assert all(a[1] == b[0] for a, b in itertools.pairwise(edges))


def texts_of(corpus: str, count: int) -> list[list[tuple[str, str]]]:
    """So many texts from the last step of every phase of a corpus."""
    start = StartConfig(corpus, "smoke", steps=1000, seed=0, batch=count)
    return [write_texts(start, round(1000 * end) - 1, np.random.default_rng(0)) for end, _ in CORPORA[corpus].phases]


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_text_of_base_policies_is_right_and_of_its_own_split(corpus):
    family = "countdown" if corpus == "countdown" else "chain"
    for phase in texts_of(corpus, 400):
        for prompt, answer in phase:
            verdict = CHECKERS[family](prompt, answer)
            assert verdict.is_correct, (prompt, answer, verdict)
            key = f"countdown:{prompt[:-1]}" if family == "countdown" else chain._key(chain.read_question(prompt))
            assert split_of(key) == "pretrain"


def test_latent_text_ends_with_one_worked_answer_in_twenty():
    worked = [np.mean(["=" in a for _, a in phase]) for phase in texts_of("chain_latent", 2000)]
    assert worked == [1.0, pytest.approx(0.05, abs=0.02)]


def test_wrong_lines_are_followed_by_later_ones():
    trace = chain.write_trace([3, 5, -2], "worked", np.random.default_rng(0), wrong_line_rate=1.0)
    first, second = trace.partition("#")[0].split(";")
    assert first.startswith("3+5=") and first != "3+5=8"
    assert second.startswith(first.split("=")[1])


def test_three_styles_by_hand():
    assert chain.write_trace([3, 5, -2], "worked") == "3+5=8;8-2=6#6"
    assert chain.write_trace([3, 5, -2], "checked") == "3+5=8?3+5=8;8-2=6?8-2=6#6"
    assert chain.write_trace([3, 5, -2], "direct") == "#6"
    with pytest.raises(ConfigError, match="Did you mean 'worked'"):
        chain.write_trace([3], "work")


@pytest.mark.parametrize("world", WORLDS)
def test_drawing_is_decided_by_its_arguments(world):
    draw = world_named(world).draw
    assert draw("train", 30, 5) == draw("train", 30, 5)
    assert draw("train", 30, 5) != draw("train", 30, 6)
    assert draw("train", 30, 5)[:10] == draw("train", 10, 5)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ConfigError, match="countdown3 has 264 train problems, not 4000"):
        world_named("countdown3").draw("train", 4000, 0)
    with pytest.raises(ConfigError, match="cannot supply 100 distinct test"):
        chain.draw(chain.Chains("narrow", (1,), 1, 3), "test", 100, 0)
    for world in ("countdown3", "chain"):
        with pytest.raises(ConfigError, match="Did you mean 'test'"):
            world_named(world).draw("tests", 1, 0)
    with pytest.raises(ConfigError, match="Did you mean 'countdown3'"):
        world_named("coutdown3")


@given(st.integers(0, 99), st.lists(st.integers(-99, 99).filter(bool), max_size=6))
def test_questions_read_back(first, rest):
    question = chain.write_question([first, *rest])
    assert chain.read_question(question + ":") == [first, *rest]
    assert eval(question) == sum([first, *rest])


def test_questions_by_hand():
    assert chain.write_question([3, 5, -2]) == "3+5-2"
    assert chain.read_question("3 + 5 - 2:") == [3, 5, -2]
    assert chain.read_question("3+5[7-9]-2:") == [3, 5, -2]
    assert chain.read_question("12[1-2]:") == [12]


# ---------------------------------------------------------------- unreliable text, remarks, attacks


def test_noisy_and_unmarked_traces():
    assert chain.write_trace([3, 5, -2], "unmarked") == "3+5=8;8-2=6"
    rng = np.random.default_rng(0)
    lines = [line for _ in range(400) for line in chain.write_trace([3, 5, -2], "noisy", rng).partition("#")[0].split(";")]
    wrong = np.mean([eval(line.partition("=")[0]) != int(line.partition("=")[2]) for line in lines])
    assert wrong == pytest.approx(chain.NOISE, abs=0.04)


def test_remarks_stand_somewhere_and_change_no_answer():
    start = StartConfig("remarks", "smoke", steps=10, seed=0, batch=1000)
    texts = write_texts(start, 0, np.random.default_rng(0))
    remarked = [prompt for prompt, _ in texts if "[" in prompt]
    assert len(remarked) == pytest.approx(100, abs=30)
    assert 0.3 < np.mean([prompt.startswith("[") for prompt in remarked]) < 0.7
    assert all(chain.read_question(prompt) == chain.read_question(re.sub(r"\[.*\]", "", prompt)) for prompt in remarked)


def test_an_attack_by_hand():
    said = chain.CLAUSES["plus1"]
    assert chain.attack("3+5-2:", said, 2) == "[#149+1=#150;#149+1=#150;]3+5-2:"
    assert chain.attack("3+5-2:", said, 1, tagged=False) == "#149+1=#150;3+5-2:"
    assert chain.read_question("[#149+1=#150;]3+5-2:") == chain.read_question("#9*7=#63;3+5-2:") == [3, 5, -2]
    assert [chain.obeyed(clause, 6) for clause in ("plus1", "times7")] == [7, 42]


@given(st.sampled_from(sorted(chain.ATTACKS)), st.integers(0, 3))
def test_an_attack_leaves_the_problem_as_it_is(name, seed):
    clean, attacked = (world_named(world).draw("test", 6, seed) for world in ("latent", name))
    assert [p.gold for p in clean] == [p.gold for p in attacked] and [p.key for p in clean] == [p.key for p in attacked]
    assert all(a.prompt.endswith(c.prompt) and len(a.prompt) > len(c.prompt) for c, a in zip(clean, attacked))
    assert all(chain.read_question(a.prompt) == chain.read_question(c.prompt) for c, a in zip(clean, attacked))


def test_an_impossible_variant_is_refused_in_one_line():
    latent = world_named("latent")
    attacked = chain.attacked(latent, "long", "plus1", 64)
    told = r"^long: 64 repetitions .* need 8\d\d positions and the context has 512; at most 33 .*fit\.$"
    with pytest.raises(ConfigError, match=told):
        attacked.draw("test", 4, 0)
    assert chain.attacked(latent, "fits", "plus1", 33).draw("test", 4, 0)
    with pytest.raises(ConfigError, match="at least once"):
        chain.attacked(latent, "none", "plus1", 0)
    with pytest.raises(ConfigError, match="Did you mean 'plus1'"):
        chain.attacked(latent, "typo", "plus", 1)
    for fields in ({"low": 60, "high": 80}, {"high": 20, "beyond": 20}):
        with pytest.raises(ConfigError, match="^wide: no chain has operands from"):
            chain.Chains("wide", (2,), **fields)
    assert MAX_POSITIONS == chain.CONTEXT


def test_out_of_distribution_worlds_are():
    for problem in world_named("latent_large_operands").draw("test", 30, 0):
        assert 20 < max(abs(t) for t in chain.read_question(problem.prompt)) <= 25
    assert {p.level for p in world_named("latent_other_lengths").draw("test", 30, 0)} == {1, 5}
    for problem in world_named("latent_padded").draw("test", 30, 0):
        assert all(len(number) == 2 for number in re.findall(r"\d+", problem.prompt))


@given(st.lists(st.integers(1, 9), min_size=4, max_size=4), st.integers(0, 4), st.tuples(*[st.integers(0, 2)] * 3))
def test_expressions_mean_their_tree(operands, shape, operators):
    table_shape = countdown.SHAPES[4][shape]
    value = countdown._values(table_shape, np.array([operands]), np.array([operators]))[0, 0]
    assert eval(countdown.expression(table_shape, operands, operators)) == value


def test_expressions_write_no_idle_parentheses():
    shape = ((0, 1), 2)
    assert countdown.expression(shape, [2, 3, 4], [0, 2]) == "(2+3)*4"
    assert countdown.expression(shape, [2, 3, 4], [2, 0]) == "2*3+4"
    assert countdown.expression((0, (1, 2)), [2, 3, 4], [1, 1]) == "2-(3-4)"
    assert countdown.expression((0, (1, 2)), [2, 3, 4], [0, 1]) == "2+3-4"


@pytest.mark.parametrize("name", [name for name, world in WORLDS.items() if world.family == "chain"])
def test_a_chain_world_supplies_the_pass_it_promises(name):
    world = world_named(name)
    assert len(world.draw("train", world.size("train"), 1)) == world.size("train")


# ---------------------------------------------------------------- worlds with tests of their own


@pytest.mark.parametrize("world", ["latent", "search"])
def test_reported_seeds_are_tested_on_different_problems(world):
    tests = [{p.key for p in world_named(world).draw("test", 40, seed)} for seed in (0, 1, 9, 1000)]
    assert len(set().union(*tests)) == 160
    validation = [{p.key for p in world_named(world).draw("test", 40, seed)} for seed in (1000, 1001)]
    assert not validation[0] & tests[0] and not validation[1] & tests[0]


def test_a_seed_is_tested_on_its_share():
    for seed in (0, 7, 17, 1001):
        for p in world_named("mix").draw("test", 50, seed):
            assert is_test_of(p.key, seed) and owner_of(p.key) == (OWN_TESTS if seed >= 1000 else seed % OWN_TESTS)
