"""DAPO draws until enough groups hold both verdicts: by hand, with a scripted sampler."""

import pytest
import torch
from test_rollouts import hand_made

from polarity_lib.engines import make_sampler
from polarity_lib.papers.baselines.methods import collect_mixed, mixed_groups
from polarity_lib.problems import world_named
from polarity_lib.run import ProblemStream

POOL = world_named("chain").draw("train", 20, 0)


class Scripted:
    """A sampler whose groups of two are mixed for some problems only; it notes how often it was asked."""

    def __init__(self, mixed):
        self.mixed, self.asked = mixed, []

    def sample(self, problems, group_size, seed):
        assert group_size == 2
        self.asked.append((seed, [p.key for p in problems]))
        texts = [text for p in problems for text in (f"#{p.gold}" if p.key in self.mixed else "#", "#")]
        rollouts = hand_made([3, 1] * len(problems), [0, 0] * len(problems), [p for p in problems for _ in range(2)])
        return rollouts.but(texts=texts, verdicts=[], finished_N=torch.ones(len(texts), dtype=torch.bool))


def collected(mixed, prompts=4, rounds=10):
    """A batch by dynamic sampling from POOL in the stream's order: rollouts, sampler, keys drawn."""
    sampler, stream = Scripted(mixed), ProblemStream(POOL, seed=0)
    rollouts = collect_mixed(rounds)(sampler, stream, prompts, 2, "7/train/3")
    drawn = [key for _, keys in sampler.asked for key in keys]
    assert drawn == [p.key for p in ProblemStream(POOL, seed=0).take(len(drawn))] and stream.position == len(drawn)
    return rollouts, sampler, drawn


def test_dynamic_sampling_keeps_only_mixed_groups_where_it_can():
    order = [p.key for p in ProblemStream(POOL, seed=0).take(20)]
    mixed = set(order[1::2])  # every second: two rounds of four give the four groups wanted
    rollouts, sampler, drawn = collected(mixed)
    assert [p.key for p in rollouts.problems[::2]] == [k for k in drawn if k in mixed] == order[1:8:2]
    assert mixed_groups(rollouts) == [0, 1, 2, 3] and rollouts.correct_N.tolist() == [True, False] * 4
    assert len(rollouts) == 8 and rollouts.drawn == 16  # what was thrown away is counted
    assert [seed for seed, _ in sampler.asked] == ["7/train/3/round/0", "7/train/3/round/1"]  # other draws each round


def test_dynamic_sampling_stops_when_it_has_enough():
    rollouts, sampler, drawn = collected({p.key for p in POOL})
    assert len(sampler.asked) == 1 and rollouts.drawn == len(rollouts) == 8
    rollouts, sampler, drawn = collected(set(drawn[:3]) | {p.key for p in POOL if p.key not in drawn})
    assert len(sampler.asked) == 2 and rollouts.drawn == 16 and len(rollouts) == 8  # one short, seven at hand: four are kept
    assert [p.key for p in rollouts.problems[::2]] == drawn[:3] + [sampler.asked[1][1][0]]


@pytest.mark.parametrize("rounds", [1, 3])
def test_dynamic_sampling_fills_up_with_uniform_groups_and_gives_up_after_its_rounds(rounds):
    rollouts, sampler, drawn = collected(set(), rounds=rounds)
    assert len(sampler.asked) == rounds and rollouts.drawn == 8 * rounds
    assert [p.key for p in rollouts.problems[::2]] == drawn[:4] and mixed_groups(rollouts) == []
    order = [p.key for p in ProblemStream(POOL, seed=0).take(20)]
    late = order[4 * rounds - 1]  # the only mixed group comes last
    rollouts, sampler, drawn = collected({late}, rounds=rounds)
    assert [p.key for p in rollouts.problems[::2]] == drawn[:3] + [late] and mixed_groups(rollouts) == [3]
    assert rollouts.group_N.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and len(sampler.asked) == rounds


def test_the_same_seed_collects_the_same_batch(policy):
    def batch(seed):
        pool = world_named("countdown3").draw("train", 12, 0)
        return collect_mixed(3)(make_sampler(policy), ProblemStream(pool, 0), 4, 8, seed)

    first, again, other = batch("a"), batch("a"), batch("b")
    assert first.texts == again.texts and first.drawn == again.drawn and torch.equal(first.logprobs_NT, again.logprobs_NT)
    assert first.texts != other.texts and first.drawn in (32, 64, 96) and len(first) == 32
    if first.drawn < 96:
        assert mixed_groups(first) == [0, 1, 2, 3]
