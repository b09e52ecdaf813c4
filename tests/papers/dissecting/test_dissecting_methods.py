"""The card's pencil numbers, and what must hold for any batch."""

import numpy as np
import pytest
import torch
from conftest import BABBLE
from hypothesis import given
from hypothesis import strategies as st
from interrupting import stopped_after

from polarity_lib import mechanism
from polarity_lib import advantages as adv
from polarity_lib.config import ConfigError
from polarity_lib.engines import make_sampler
from polarity_lib.experiments import Arm, get_run
from polarity_lib.methods import Progress, Schedule, brought, in_force, method_named
from polarity_lib.papers.dissecting import injection, methods
from polarity_lib.run import ProblemStream, prepare
from polarity_lib.papers.dissecting.injection import (
    INJECTED, collect_with_offline, dead_again, injected_loss, repetition_penalty, shaped, shaped_weight, slots,
)
from polarity_lib.papers.dissecting.length import relative_length_reward, sign_flip_length
from polarity_lib.papers.dissecting.methods import NEGATIVES, POSITIVES, polarity_weights
from polarity_lib.problems import world_named
from polarity_lib.results import RunFolder
from polarity_lib.rollouts import with_answers
from polarity_lib.training import train

LENGTHS = torch.tensor([1000, 1100, 1200, 1300, 1400, 1500, 1600, 1900])
ONE_GROUP = torch.zeros(8, dtype=torch.long)


# ---------------------------------------------------------------- advantages of a group


@pytest.mark.parametrize("size, right, up, down", [
    (8, 1, 2.4749, -0.3536), (8, 2, 1.6202, -0.5401), (8, 4, 0.9354, -0.9354), (8, 6, 0.5401, -1.6202),
    (8, 7, 0.3536, -2.4749), (16, 2, 2.5617, -0.3660)])
def test_advantages_of_the_card(size, right, up, down):
    rewards = torch.tensor([1.0] * right + [0.0] * (size - right))
    found = adv.grpo(rewards, torch.zeros(size, dtype=torch.long))
    assert found[0].item() == pytest.approx(up, abs=1e-4) and found[-1].item() == pytest.approx(down, abs=1e-4)


# ---------------------------------------------------------------- selection and denominators


def weights_of(name, right, group, length):
    rollouts = mechanism.hand_made(right, group, length)
    return mechanism.token_weights(method_named(name), rollouts)[:, 0]


def test_selection_by_hand():
    """Four answers, one right: A = 1.5 and three times -0.5. The wrong ones have 2, 4 and 6 tokens, the right one 8."""
    right, group, length = [1, 0, 0, 0], [0] * 4, [8, 2, 4, 6]
    both = weights_of("both_polarities", right, group, length)
    assert both.tolist() == pytest.approx([1.5 / 20] + [-0.5 / 20] * 3, abs=1e-5)
    negative = weights_of(NEGATIVES, right, group, length)  # 3/4 of the rows, 12 tokens
    assert negative.tolist() == pytest.approx([0] + [-0.5 * 0.75 / 12] * 3, abs=1e-5)
    assert weights_of(POSITIVES, right, group, length).tolist() == pytest.approx([1.5 * 0.25 / 8, 0, 0, 0], abs=1e-5)
    assert weights_of("negatives_renormalised", right, group, length)[1].item() == pytest.approx(-0.5 / 12, abs=1e-5)
    assert weights_of("positives_renormalised", right, group, length)[0].item() == pytest.approx(1.5 / 8, abs=1e-5)


def test_dead_groups_stay_in_the_denominator():
    """The negative arm keeps all-wrong groups: no gradient of their own, and the others' becomes smaller."""
    alone = weights_of(NEGATIVES, [1, 0], [0, 0], [4, 4])
    beside = weights_of(NEGATIVES, [1, 0, 0, 0], [0, 0, 1, 1], [4, 4, 4, 4])
    assert beside[2:].tolist() == [0, 0]
    assert beside[1].item() == pytest.approx(alone[1].item() * (3 / 4) / (1 / 2) / 3, rel=1e-6)  # shares kept; 12 tokens for 4


# ---------------------------------------------------------------- schedules


@pytest.mark.parametrize("share, first, later, expected", [
    (0.0, "wrong", 1, (0, 1)), (0.49, "wrong", 1, (0, 1)), (0.5, "wrong", 1, (1, 1)), (0.5, "wrong", 0, (1, 0)),
    (0.2, "right", 1, (1, 0)), (0.9, "right", 1, (1, 1)), (0.9, "right", 0, (0, 1))])
def test_weights_of_a_schedule_by_hand(share, first, later, expected):
    assert polarity_weights(share, 0.5, first, later) == expected


@given(st.floats(0, 0.999), st.floats(0, 1), st.sampled_from(["right", "wrong"]), st.sampled_from([0, 1]))
def test_mirrored_schedules_mirror_their_weights(share, switch, first, later):
    other = {"right": "wrong", "wrong": "right"}[first]
    assert polarity_weights(share, switch, first, later) == polarity_weights(share, switch, other, later)[::-1]
    assert max(polarity_weights(share, switch, first, later)) == 1


def test_impossible_schedules_are_refused():
    with pytest.raises(ConfigError, match="switches within 0 to 1"):
        method_named("neg_to_pos", {"switch": 1.5})
    with pytest.raises(ConfigError, match="with 0 or 1"):
        method_named("neg_to_pos", {"later": 0.5})
    with pytest.raises(ConfigError, match="Unknown polarity"):
        polarity_weights(0.1, 0.5, "negative", 1)


def test_a_schedule_is_one_method_and_then_the_other():
    schedule = method_named("neg_to_pos", {"switch": 0.5})
    assert isinstance(schedule, Schedule) and schedule.name == "neg_to_pos"
    assert [in_force(schedule, Progress(step, 4)).name for step in range(4)] == [NEGATIVES] * 2 + ["both_polarities"] * 2
    assert in_force(method_named("pos_to_neg", {"later": 0.0}), Progress(3, 4)).name == NEGATIVES
    assert in_force(method_named("grpo"), Progress(3, 4)).name == "grpo"


def tables_without_times(tables):
    metrics = tables["metrics"]
    return metrics[~metrics.metric.str.startswith("timing.")].reset_index(drop=True)


def test_a_schedule_that_never_switches_is_its_first_method(configure, own_runs):
    found = []
    for name, options in ((NEGATIVES, ()), ("neg_to_pos", (("switch", 1.0),))):
        config = configure(name, options=options, minibatches=2)
        found.append(tables_without_times(get_run(Arm("test", name, config, "smoke"))))
    assert found[0].equals(found[1]) and found[0].value.abs().sum() > 0


@pytest.mark.parametrize("name, options", [("neg_to_pos", ()), ("rlr_after", (("kappa", 2.0), ("hidden_kl", 0.001)))])
def test_a_resume_in_the_middle_of_a_schedule_changes_nothing(configure, tmp_path, name, options):
    config = configure(name, options=options, minibatches=2, checkpoint_every=1)
    whole = tables_without_times(train(config, RunFolder("whole", config.identity, tmp_path)))

    folder = RunFolder("broken", config.identity, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(config, folder, watch=stopped_after(3))  # one batch after the switch
    assert tables_without_times(train(config, folder)).equals(whole)


# ---------------------------------------------------------------- relative length reward


def test_all_right_group_of_the_card():
    rewards = relative_length_reward(torch.ones(8, dtype=torch.bool), LENGTHS, ONE_GROUP)
    assert rewards.tolist() == pytest.approx([1.75, 1.55, 1.35, 1.15, 0.95, 0.75, 0.55, 0.50])
    assert adv.grpo(rewards, ONE_GROUP).tolist() == pytest.approx(
        [1.477, 1.043, 0.610, 0.176, -0.257, -0.691, -1.124, -1.233], abs=6e-4)


def test_mixed_group_of_the_card():
    rewards = relative_length_reward(torch.tensor([True] * 7 + [False]), LENGTHS, ONE_GROUP)
    assert rewards.tolist() == pytest.approx([1.6, 1.4, 1.2, 1.0, 0.8, 0.6, 0.5, 0])
    assert adv.grpo(rewards, ONE_GROUP).tolist() == pytest.approx(
        [1.364, 0.981, 0.598, 0.215, -0.168, -0.551, -0.742, -1.700], abs=6e-4)


def test_a_hard_group_earns_plain_verdicts():
    right = torch.tensor([True] * 5 + [False] * 3)
    assert relative_length_reward(right, LENGTHS, ONE_GROUP).tolist() == right.float().tolist()


def test_a_token_more_is_blown_up_by_the_spread():
    lengths = torch.tensor([100] * 7 + [101])
    rewards = relative_length_reward(torch.ones(8, dtype=torch.bool), lengths, ONE_GROUP)
    found = adv.grpo(rewards.double(), ONE_GROUP)
    assert found.tolist() == pytest.approx([0.353] * 7 + [-2.471], abs=3e-3)
    floored = methods._floored(rewards.double(), ONE_GROUP, 0.1)
    assert floored.abs().max() < 0.02  # a floor under the spread leaves it small
    assert sign_flip_length(7 / 8, 500) == 62.5


lengths_and_verdicts = st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=2, max_size=12)


@given(lengths_and_verdicts, st.floats(1, 20), st.integers(0, 50))
def test_rewards_of_any_group(rows, kappa, longer):
    lengths, right = (torch.tensor(column) for column in zip(*rows))
    group = torch.zeros(len(rows), dtype=torch.long)
    rewards = relative_length_reward(right, lengths, group, 0.5, kappa)
    assert (rewards[~right] == 0).all() and ((rewards[right] >= 0.5) & (rewards[right] <= 2)).all()
    moved = relative_length_reward(right, lengths + longer, group, 0.5, kappa)
    assert torch.allclose(moved, rewards, atol=1e-5)  # relative: only differences of length count
    order = np.argsort(lengths[right].numpy(), kind="stable")
    assert (np.diff(rewards[right].numpy()[order]) <= 1e-6).all()  # the shorter never earns less


def test_bad_lengths_are_refused():
    with pytest.raises(ValueError, match="length of 0 or more"):
        relative_length_reward(torch.tensor([True]), torch.tensor([-1]), torch.tensor([0]))
    with pytest.raises(ValueError, match="kappa must be above 0"):
        relative_length_reward(torch.tensor([True]), torch.tensor([1]), torch.tensor([0]), kappa=0)
    with pytest.raises(ConfigError, match="kappa must be above 0"):
        method_named("rlr", {"kappa": 0.0})
    with pytest.raises(ConfigError, match="Did you mean 'floor'"):
        method_named("rlr", {"spread": "flor"})


def test_the_sign_can_disagree_with_the_verdict(batch):
    """An all-right group has no advantage under GRPO; under rlr its longer answers go down although they are right."""
    right_N = batch.correct_N
    method = method_named("rlr", {"kappa": 2.0, "tau": 0.5})
    lengths = batch.mask_NT.sum(1)
    longest = batch.but(mask_NT=batch.mask_NT.clone())
    rewards = method.reward(longest)
    advantages = method.advantage(longest, rewards, Progress(0, 1))
    negative_and_right = (advantages.sum(1) < 0) & right_N
    eligible = lengths[8:12]  # the third group is all right
    assert bool(negative_and_right[8:12].any()) == (len(set(eligible.tolist())) > 1)


def test_the_hidden_divergence_moves_dead_groups(batch):
    method = method_named("rlr", {"hidden_kl": 0.001})
    assert method.needs == {"reference_logprobs"}
    apart = batch.but(extras={"reference_logprobs": batch.logprobs_NT - 0.1 * torch.arange(len(batch))[:, None] * batch.mask_NT})
    plain, moved = (m.advantage(apart, m.reward(apart), Progress(0, 1)) for m in (method_named("rlr", {"tau": 1.1}), method_named(
        "rlr", {"tau": 1.1, "hidden_kl": 0.001})))
    dead = slice(12, 16)  # the fourth group is all wrong
    assert (plain[dead] == 0).all() and moved[dead].abs().max() > 0.5


# ---------------------------------------------------------------- injection


@pytest.mark.parametrize("right, alpha, cap, available, expected", [
    ([0] * 16, 0.125, 1, 1, [0]), ([0, 1] + [0] * 14, 0.125, 2, 5, [0, 2]), ([1, 1] + [0] * 14, 0.125, 1, 1, [2]),
    ([1, 1, 1] + [0] * 13, 0.125, 1, 1, []), ([0] * 4, 0.125, 0, 9, [0, 1, 2, 3]), ([0] * 4, 0.0, 0, 2, [0, 1]),
    ([0] * 4, 0.125, 4, 0, []), ([], 0.5, 1, 1, [])])
def test_slots_by_hand(right, alpha, cap, available, expected):
    assert slots(right, alpha, cap, available) == expected


@given(st.lists(st.booleans(), max_size=16), st.floats(0, 1), st.integers(0, 16), st.integers(0, 16))
def test_only_wrong_rows_give_way(right, alpha, cap, available):
    found = slots(right, alpha, cap, available)
    assert not any(right[i] for i in found) and found == sorted(set(found)) and len(found) <= available
    assert not cap or len(found) <= cap


@pytest.mark.parametrize("pi, f, w", [(0.001, 0.0099, 0.0098), (0.01, 0.0909, 0.0826), (0.05, 0.333, 0.222), (0.1, 0.5, 0.25),
                                      (0.3, 0.75, 0.188), (0.5, 0.833, 0.139), (0.9, 0.9, 0.09), (1.0, 0.909, 0.083)])
def test_shaping_of_the_card(pi, f, w):
    assert shaped(torch.tensor(pi).log()).item() == pytest.approx(f, abs=6e-4)
    assert shaped_weight(pi) == pytest.approx(w, abs=6e-4)


@given(st.floats(1e-4, 1.0), st.floats(0.01, 1.0))
def test_the_weight_is_the_slope(pi, gamma):
    log = torch.tensor(pi, dtype=torch.float64).log().requires_grad_()
    shaped(log, gamma).backward()
    assert log.grad.item() == pytest.approx(shaped_weight(pi, gamma), rel=1e-6)
    mirrored = gamma**2 / pi
    assert shaped_weight(mirrored, gamma) == pytest.approx(shaped_weight(pi, gamma), rel=1e-9)  # symmetric in log pi around gamma


@pytest.mark.parametrize("kind, weight", [("shaped", 0.25), ("likelihood", 1.0)])
def test_an_injected_token_has_its_own_weight(kind, weight):
    logs = torch.tensor([[0.1], [0.1]]).log().requires_grad_()
    extras = {"offline": torch.tensor([0.0, 1.0])}
    advantages, mask = torch.tensor([[2.0], [2.0]]), torch.ones(2, 1)
    injected_loss(kind, 0.1)(logs, logs.detach() - 1.0, advantages, mask, extras).sum().backward()
    # The first row was sampled: ratio e, far outside any clip, and yet its gradient is whole.
    assert (-logs.grad[:, 0] / 2).tolist() == pytest.approx([np.e, weight], rel=1e-5)


class Stub:
    """A sampler that gives the answers it is told."""

    def __init__(self, policy, answers):
        self.policy, self.answers = policy, answers

    def sample(self, problems, group_size, seed):
        rollouts = make_sampler(self.policy, max_new_tokens=40).sample(problems, group_size, seed)
        eos = self.policy.tokenizer.eos_token_id
        texts = [text for problem in problems for text in self.answers(problem, group_size)]
        return with_answers(rollouts, {i: (self.policy.encode(t) + [eos], t) for i, t in enumerate(texts)})


def gold(problem, wrong, size):
    return ["#0"] * wrong + [f"#{problem.gold}"] * (size - wrong)


def collected(babbler, wrong, size=8, alpha=0.125, cap=1, prompts=2):
    stream = ProblemStream(world_named("latent").draw("train", 4, 0), 0)
    sampler = Stub(babbler, lambda problem, group_size: gold(problem, wrong, group_size))
    return collect_with_offline(alpha, cap, "worked")(sampler, stream, prompts, size, "test")


def test_a_hard_group_gets_a_right_answer_whose_text_is_kept(babbler):
    rollouts = collected(babbler, wrong=8)
    assert rollouts.extras["offline"].tolist() == ([1.0] + [0.0] * 7) * 2
    for row in (0, 8):
        verdict = rollouts.verdicts[row]
        assert verdict.is_correct and verdict.reason.startswith(INJECTED) and "=" in rollouts.texts[row]
        assert babbler.decode(rollouts.tokens_NT[row, : int(rollouts.mask_NT[row].sum())]) == rollouts.texts[row]
        assert rollouts.logprobs_NT[row].abs().sum() == 0
    assert rollouts.correct_N.sum() == 2 and rollouts.extras["dead_again"].sum() == 0


def test_an_easy_group_is_left_alone(babbler):
    assert collected(babbler, wrong=6).extras["offline"].sum() == 0  # 2 of 8 right: above one in eight
    assert collected(babbler, wrong=7).extras["offline"].tolist() == ([1.0] + [0.0] * 7) * 2


def test_a_group_whose_every_wrong_answer_is_replaced_dies_again(babbler):
    rollouts = collected(babbler, wrong=8, cap=0)
    assert rollouts.correct_N.all() and rollouts.extras["dead_again"].all()
    assert adv.grpo(rollouts.correct_N.float(), rollouts.group_N).abs().sum() == 0
    assert not collected(babbler, wrong=8, cap=7).extras["dead_again"].any()


def test_dead_again_by_hand():
    rollouts = mechanism.hand_made([1, 1, 1, 1, 1, 0], [0, 0, 1, 1, 2, 2], [2] * 6)
    assert dead_again(rollouts, torch.tensor([1.0, 0, 0, 0, 1, 0])).tolist() == [1, 1, 0, 0, 0, 0]


def test_too_long_answers_from_elsewhere_are_discarded(babbler, monkeypatch):
    monkeypatch.setattr(injection, "offline_answers", lambda problem, style: ["1+" * 60 + "#1"])
    assert collected(babbler, wrong=8).extras["offline"].sum() == 0


def test_worlds_without_a_writer_get_nothing():
    problem = world_named("countdown3").draw("train", 1, 0)[0]
    assert injection.offline_answers(problem, "worked") == []


def test_repetition_by_hand():
    assert repetition_penalty("a b c d", size=2) == 0  # three pairs, all distinct
    assert repetition_penalty("a a A a", size=2) == pytest.approx(-2 * (1 - 1 / 3))
    assert repetition_penalty("a b") == 0  # fewer than forty words


def test_cut_off_answers_carry_no_signal(batch):
    cut = batch.but(finished_N=torch.tensor([i != 1 for i in range(len(batch))]))
    method = method_named("osi_none")
    assert (method.advantage(cut, method.reward(cut), Progress(0, 1))[1] == 0).all()
    assert (method.advantage(batch, method.reward(batch), Progress(0, 1))[1] != 0).any()


def test_unclipped_is_the_ratio():
    logs, old = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-3.0, -2.0]])
    found = methods.unclipped_ratio(logs, old, torch.tensor([[1.0, -1.0]]), torch.ones(1, 2))
    assert found.tolist() == [pytest.approx([-np.exp(2.0), 1.0], rel=1e-6)]


@pytest.mark.parametrize("loss", methods.OSI_LOSSES)
def test_the_loop_trains_with_injected_answers(configure, tmp_path, loss):
    config = configure("osi", world="latent", start=BABBLE, options=(("loss", loss),), minibatches=2, steps=2)
    tables = train(config, RunFolder(loss, config.identity, tmp_path))
    metrics = tables["metrics"].set_index("metric").value
    assert 0 < metrics["brought/offline"].max() <= 1 / 8 and metrics["brought/dead_again"].max() == 0
    assert metrics["update/norm"].max() > 0
    assert tables["rollouts"].reason.str.startswith(INJECTED).any()  # the injected text can be read


def test_what_a_method_brings():
    assert brought(method_named("osi")) == {"offline", "dead_again"} and brought(method_named("grpo")) == frozenset()
    with pytest.raises(ConfigError, match="Did you mean 'shaped'"):
        method_named("osi", {"loss": "shape"})


def test_the_loops_gradient_is_the_one_by_hand(batch, gradient_of):
    """One update per batch: both polarities is the sum of its two halves, each in its own denominator."""
    both, right, wrong = (gradient_of(name, batch) for name in ("both_polarities", POSITIVES, NEGATIVES))
    tokens = batch.mask_NT.sum(1)
    right_N = batch.correct_N
    scale = {True: 0.0, False: 0.0}
    for verdict in scale:
        mine = right_N == verdict
        scale[verdict] = float((tokens[mine].sum() / tokens.sum()) / mine.float().mean())
    assert torch.allclose(both, scale[True] * right + scale[False] * wrong, atol=1e-6)
    assert both.norm() > 0


def test_prepare_knows_what_a_schedule_needs(configure):
    config = configure("rlr_after", options=(("hidden_kl", 0.001),))
    assert prepare(config, "cpu").reference is not None
