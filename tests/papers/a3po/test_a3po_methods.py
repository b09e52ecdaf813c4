"""A3PO as a method: its gradient by hand, its schedule, and which tokens its selections weigh."""

import pytest
import torch
from gradients import G, SEVERAL, counted, differ, gradient_by_hand

from polarity_lib.config import ConfigError
from polarity_lib.methods import Progress, method_named
from polarity_lib.papers.a3po.methods import METHODS, SELECTIONS, A3POOptions
from polarity_lib.run import prepare


# ---------------------------------------------------------------- the formulas


def first_weights(rollouts):
    """A3PO's weights at step 0: 2 on a fifth of each answer, unlikely tokens if right, likely ones if wrong."""
    table = []
    for n, right in enumerate(rollouts.correct_N.tolist()):
        length = int(rollouts.mask_NT[n].sum())
        probs = rollouts.logprobs_NT[n, :length].exp().tolist()
        ranked = sorted(range(length), key=lambda t: probs[t] if right else -probs[t])
        chosen = ranked[: max(1, length // 5)]
        table.append([2.0 if t in chosen else 1.0 for t in range(length)])
    return table


FORMULAS = {
    "token_shaped": lambda f: [a / n / f.N for a, n in zip(f.normalised, f.length)],  # without scales
    "a3po": lambda f: [[a * w / n / f.N for w in row] for a, n, row in zip(f.normalised, f.length, first_weights(f.rollouts))],
}


@pytest.mark.parametrize("name", METHODS)
def test_the_gradient_is_the_formula(name, policy, batch, gradient_of):
    assert differ(gradient_of(name, batch), gradient_by_hand(policy, batch, FORMULAS[name](counted(batch)))) < 1e-5


@pytest.mark.parametrize("updates", [{}, SEVERAL], ids=["one", "several"])
def test_weights_of_one_are_the_method_underneath(updates, batch, gradient_of):
    def gradient(name, **options):
        return gradient_of(method_named(name, options), batch, **updates)

    for same in (gradient("a3po", weight=1.0), gradient("token_shaped")):
        assert torch.equal(same, gradient("grpo"))
    assert torch.equal(gradient("a3po", weight=1.0, base="dapo"), gradient("dapo"))


# ---------------------------------------------------------------- A3PO's options


def test_the_weight_falls_to_one_at_two_fifths_of_the_training():
    def at(step, updates=1, **options):
        return A3POOptions(**options).weight_at(Progress(step, 200, updates))

    assert [at(s) for s in (0, 40, 80, 200)] == pytest.approx([2.0, 1.5, 1.0, 1.0])
    assert [at(s, updates=4, clock="updates") for s in (0, 40, 80)] == pytest.approx([2.0, 1.5, 1.0])  # a share has no clock
    assert [at(s, weight=5.0) for s in (0, 40, 80)] == pytest.approx([5.0, 3.0, 1.0])
    assert [at(s, reaches_one=0.0) for s in (0, 100, 200)] == [2.0, 2.0, 2.0]
    # The paper's slope, by batches and by optimizer steps, four to a batch.
    assert [at(s, slope=0.005) for s in (0, 50, 100, 200)] == pytest.approx([2.0, 1.75, 1.5, 1.0])
    assert [at(s, 4, slope=0.005, clock="updates") for s in (0, 25, 50, 51)] == pytest.approx([2.0, 1.5, 1.0, 1.0])


def weights_of(batch, step=0, **options):
    """A3PO's advantages over GRPO's, on rows where those are not zero."""
    rewards = batch.correct_N.float()
    shaped = method_named("a3po", options).advantage(batch, rewards, Progress(step, 10, 4))
    plain = method_named("grpo").advantage(batch, rewards, Progress(step, 10, 4))
    assert ((shaped == 0) == (plain == 0)).all() and (shaped * plain >= 0).all()  # no sign changes
    return torch.where(plain != 0, shaped / plain, 1.0)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_selection_weighs_as_many_tokens(selection, batch):
    weights_NT = weights_of(batch, selection=selection)
    length_N, active_N = batch.mask_NT.sum(1).int(), (weights_NT != 1).any(1)
    assert active_N.sum() == 4 * G  # the mixed groups
    assert set(weights_NT.unique().tolist()) == {1.0, 2.0}
    assert (weights_NT == 2).sum(1)[active_N].tolist() == [max(1, n // 5) for n in length_N[active_N].tolist()]
    assert torch.equal(weights_NT, weights_of(batch, selection=selection))
    assert (weights_of(batch, step=4, selection=selection) == 1).all()  # 40 % of ten steps
    moved = not torch.equal(weights_NT, weights_of(batch, step=1, selection=selection, reaches_one=0.0))
    assert moved == (selection in ("random", "position"))  # drawn anew at every step
    if selection != "a3po":
        assert not torch.equal(weights_NT, weights_of(batch))


def test_the_first_selection_is_the_one_by_hand(batch):
    weights = weights_of(batch)
    for n, row in enumerate(first_weights(batch)):
        if (weights[n] != 1).any():
            assert weights[n, : len(row)].tolist() == row


@pytest.mark.parametrize("polarity", ["right", "wrong"])
def test_one_polarity_can_be_weighted_alone(polarity, batch):
    wanted = batch.correct_N == (polarity == "right")
    weights, both = weights_of(batch, polarity=polarity), weights_of(batch)
    assert torch.equal(weights[wanted], both[wanted]) and (weights[~wanted] == 1).all()


def test_mean_one_keeps_the_size_of_every_answers_signal(batch):
    weights = weights_of(batch, mean_one=True)
    active = (weights != 1).any(1)
    mean = (weights * batch.mask_NT).sum(1) / batch.mask_NT.sum(1)
    assert active.any() and torch.allclose(mean[active], torch.ones(int(active.sum())), atol=1e-5)
    assert torch.allclose(weights[active].amax(1) / weights[active].amin(1), torch.tensor(2.0))


@pytest.mark.parametrize("cell", ["right_high", "right_low", "wrong_high", "wrong_low"])
@pytest.mark.parametrize("metric", ["probability", "entropy"])
def test_a_cell_weighs_its_end_of_its_polarity(cell, metric, batch):
    polarity, end = cell.split("_")
    rewards = batch.correct_N.float()
    shaped = method_named("token_shaped", {cell: 5.0, "metric": metric}).advantage(batch, rewards, Progress(0, 1))
    plain = method_named("grpo").advantage(batch, rewards, Progress(0, 1))
    values = batch.logprobs_NT.exp() if metric == "probability" else batch.entropies_NT
    for n, right in enumerate(batch.correct_N.tolist()):
        length = int(batch.mask_NT[n].sum())
        chosen = (shaped[n, :length] != plain[n, :length]).nonzero()[:, 0].tolist()
        if right != (polarity == "right") or plain[n, 0] == 0:
            assert chosen == []
            continue
        key = values[n, :length].tolist()
        assert chosen == sorted(sorted(range(length), key=lambda t: -key[t] if end == "high" else key[t])[: max(1, length // 5)])
        assert torch.allclose(shaped[n, chosen], 5 * plain[n, chosen])


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(("name", "option", "value", "near"), [
    ("a3po", "selection", "positon", "position"), ("a3po", "selection", "swaped", "swapped"),
    ("a3po", "clock", "update", "updates"), ("a3po", "polarity", "rigth", "right"), ("a3po", "base", "dappo", "dapo"),
    ("token_shaped", "metric", "entropi", "entropy"),
])  # fmt: skip
def test_misspelt_choices_are_refused_before_a_run_is_prepared(name, option, value, near, configure, monkeypatch):
    monkeypatch.setattr("polarity_lib.run.starting_policy", lambda *a: pytest.fail("a base policy was made"))
    with pytest.raises(ConfigError, match=f"Did you mean .*'{near}'"):
        prepare(configure(name, options=((option, value),)), "cpu")


@pytest.mark.parametrize("options", [{"weight": 0.5}, {"fraction": 0.0}])
def test_numbers_that_cannot_be_are_refused_before_any_update(options, batch):
    with pytest.raises(ValueError, match="weight|fraction"):
        method_named("a3po", options).advantage(batch, batch.correct_N.float(), Progress(0, 10))
