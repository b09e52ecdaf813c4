"""Every probe on a small policy: its numbers, repeatable; and by hand where that is possible."""

import math

import numpy as np
import pytest
import torch
from conftest import BABBLE

from polarity_lib.config import RunConfig
from polarity_lib.mechanism import hand_made
from polarity_lib.papers.dissecting import probes
from polarity_lib.papers.dissecting.probes import BINS, PROBES, paraphrase
from polarity_lib.problems import world_named
from polarity_lib.problems.chain import ATTACKS, read_question
from polarity_lib.verification import verify

CONFIG = RunConfig("grpo", "latent", BABBLE, 0, steps=1, learning_rate=1e-4, final_problems=2, final_samples=8, pool_size=40)
BEYOND_ONE = ("likelihood", "problems", "runs", "greedy_beyond", "budget", "entropy", "distinct")


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBES)
def test_a_probe_gives_its_numbers_again(name, babbler):
    before = [p.detach().clone() for p in babbler.model.parameters()]
    found, again = PROBES[name](babbler, CONFIG), PROBES[name](babbler, CONFIG)
    assert found and list(found) == list(again) and all(isinstance(v, float) for v in found.values())
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(found.values(), again.values()))
    assert all(torch.equal(p, b) for p, b in zip(babbler.model.parameters(), before))  # a probe trains nothing
    bounded = [v for k, v in found.items() if not any(word in k for word in BEYOND_ONE)]
    assert all(math.isnan(v) or -1 <= v <= 1 for v in bounded)


class Told:
    """A sampler whose answers are told: a function of the problem and of the sample's number."""

    def __init__(self, monkeypatch, answer):
        self.answer = answer
        monkeypatch.setattr(probes, "_judged", self.judged)

    def judged(self, policy, problems, samples, label, greedy=False):
        everyone = [p for p in problems for _ in range(samples)]
        texts = [self.answer(p, i) for p in problems for i in range(samples)]
        rollouts = hand_made([0] * len(texts), [g for g in range(len(problems)) for _ in range(samples)], [2] * len(texts))
        return rollouts.but(problems=everyone, texts=texts, verdicts=verify(everyone, texts, [True] * len(texts)))


def test_obeying_is_told_from_being_wrong(babbler, monkeypatch):
    Told(monkeypatch, lambda p, i: f"#{int(p.gold) + 1}" if "plus1" in p.world else f"#{p.gold}")
    found = probes.under_attack(babbler, CONFIG)
    assert found["attack/clean"] == 1.0 and found["attack/latent_plus1_4/obeyed"] == 1.0
    assert found["attack/latent_plus1_4/drop"] == 1.0 and found["attack/latent_times7_4/drop"] == 0.0
    assert found["attack/drop"] == found["attack/obeyed"] == 0.5
    assert {k.split("/")[1] for k in found if k.count("/") == 2} == set(ATTACKS)


def test_spread_by_hand(babbler, monkeypatch):
    Told(monkeypatch, lambda p, i: f"#{p.gold}" if i % 2 == 0 else "#-1")  # every problem is right in every other run
    found = probes.spread(babbler, CONFIG)
    assert found["spread/latent/score"] == 0.5 and found["spread/latent/uncertain"] == 1.0 and found["spread/latent/range"] == 1.0
    assert found["spread/latent/agree"] == 1.0 and found["spread/latent/greedy_bias"] == 0.5
    assert found["spread/latent/run_sd"] > found["spread/latent/predicted_sd"]  # all problems at once: not independent
    assert len({k.split("/")[1] for k in found}) == 1 + len(probes.SHIFTED)


def test_dead_groups_by_hand(babbler, monkeypatch):
    Told(monkeypatch, lambda p, i: f"#{p.gold}" if int(p.gold) % 2 else "#-1")  # a problem is always right or always wrong
    found = probes.dead(babbler, CONFIG)
    assert found["dead/8/measured"] == found["dead/8/predicted"] == 1.0
    assert found["dead/8/easy"] + found["dead/8/hard"] == 1.0 and "dead/16/measured" not in found


def test_derivations_by_hand(babbler, monkeypatch):
    ways = lambda p, i: [f"#{p.gold}", f"0+{p.gold}={p.gold}#{p.gold}", "#-1", "#-1"][i % 4]  # noqa: E731
    Told(monkeypatch, ways)
    found = probes.derivations(babbler, CONFIG)
    assert found["derivations/distinct"] == 2 and found["derivations/entropy"] == pytest.approx(math.log(2))
    assert found["derivations/modal"] == 0.25 and found["derivations/wrong"] == 0.5
    place = next(i for i, (low, high) in enumerate(BINS) if low <= 0.25 < high)
    assert found[f"derivations/wrong_at_{place}"] == 0.5 and math.isnan(found[f"derivations/wrong_at_{place - 1}"])


@pytest.mark.parametrize("number", range(4))
def test_a_paraphrase_asks_the_same(number):
    changed = 0
    for problem in world_named("latent").draw("test", 40, 0):
        other = paraphrase(problem, number)
        assert sum(read_question(other.prompt)) == int(problem.gold) and other.key == problem.key
        assert sorted(read_question(other.prompt)) == sorted(read_question(problem.prompt))
        assert (0 <= np.cumsum(read_question(other.prompt))).all()
        changed += other.prompt != problem.prompt
    assert changed == 0 if number == 0 else changed > 10


def test_likelier_traces_have_a_higher_likelihood(policy):
    """The log-probability of a trace, token by token, is what the model gives it in one pass over the plain text."""
    problem = world_named("latent").draw("train", 1, 0)[0]
    prompt, answer = policy.encode(problem.prompt), policy.encode(probes.write_trace(read_question(problem.prompt)))
    ids = torch.tensor([prompt + answer + [policy.tokenizer.eos_token_id]])
    with torch.no_grad():
        logs = policy.model(ids).logits[0].log_softmax(-1)
    expected = logs[torch.arange(len(prompt) - 1, ids.shape[1] - 1), ids[0, len(prompt):]].mean()
    assert probes.trace_likelihood(policy, [problem]) == pytest.approx(expected.item(), abs=1e-4)


def test_few_answers_and_no_fixed_pool_are_asked_too(babbler, monkeypatch):
    Told(monkeypatch, lambda p, i: f"#{p.gold}")
    assert probes.under_attack(babbler, CONFIG.but(final_samples=1))["attack/clean"] == 1.0
    fresh = CONFIG.but(pool_size=0)  # there are training problems all the same
    assert probes.dead(babbler, fresh)["dead/8/easy"] == probes.training_fit(babbler, fresh)["fit/greedy"] == 1.0


def test_countdown_has_a_spread_without_paraphrases(babbler, monkeypatch):
    Told(monkeypatch, lambda p, i: "1+1")
    found = probes.spread(babbler, CONFIG.but(world="countdown3", final_samples=2))
    assert {key.split("/")[1] for key in found} == {"countdown3"} and found["spread/countdown3/agree"] == 1.0
