"""The loop: repeatable to the bit, resumable from anywhere, and what its controls do."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from interrupting import stopped_after

from polarity_lib import layout, provenance, training, updates
from polarity_lib.config import ConfigError, StartConfig
from polarity_lib.engines import make_sampler
from polarity_lib.layout import pack_rows, split_bundle
from polarity_lib.policy import token_logprobs
from polarity_lib.problems import world_named
from polarity_lib.results import RunFolder, without_timings
from polarity_lib.run import Diverged, ProblemStream, prepare
from polarity_lib.training import one_step, train
from polarity_lib.updates import split_rows


def folder_for(config, root) -> RunFolder:
    return RunFolder(config.name, config.identity, root)


def run(config, root, **options):
    return train(config, folder_for(config, root), device="cpu", **options)


def assert_identical(a, b):
    """Every table equal to the last bit, timings apart."""
    assert a.keys() == b.keys() == {"metrics", "problems", "rollouts", "updates"}
    for name in a:
        left, right = (without_timings(t[name]) if name == "metrics" else t[name] for t in (a, b))
        pd.testing.assert_frame_equal(left, right, check_exact=True)


VARIANTS = {
    "reinforce": {},
    "sgd": {"optimizer": "sgd", "grad_clip": 0.0, "learning_rate": 1e-2},
    "ppo": {"method": "ppo"},  # carries a critic with its own optimizer
    "kl": {"method": "grpo", "options": (("kl", 0.1),)},  # carries a reference
    "minibatches": {"minibatches": 4},  # carries old log-probabilities
    "dapo": {"method": "dapo"},  # draws more problems than it keeps
    "a3po": {"method": "a3po", "minibatches": 4},  # has a schedule
}


# ---------------------------------------------------------------- the same numbers, however they are reached


def test_a_repeated_run_is_identical_and_another_seed_is_not(configure, tmp_path):
    first, again = (run(configure(), tmp_path / name) for name in ("a", "b"))
    assert_identical(first, again)
    other = run(configure(seed=1), tmp_path / "c")
    assert not other["updates"].norm.equals(first["updates"].norm)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_a_run_stopped_anywhere_ends_as_if_never_stopped(variant, configure, tmp_path):
    config = configure(**variant)
    whole = run(config, tmp_path / "whole")
    for stop in (1, 2, 3, 4):  # checkpoints are at 2 and 4
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / f"{stop}", watch=stopped_after(stop))
        assert_identical(run(config, tmp_path / f"{stop}"), whole)


def test_every_place_that_continued_a_run_is_kept(configure, tmp_path, monkeypatch):
    config = configure(checkpoint_every=1)
    for name, place, stop in (("a", "A", 1), ("a", "B", 2), ("a", "A", 3), ("a", "A", 4), ("old", "A", 1), ("old", "A", 2)):
        monkeypatch.setattr(provenance, "machine_of", lambda device, place=place: place)
        monkeypatch.setattr(training, "machine_of", lambda device, place=place: place)
        folder = folder_for(config, tmp_path / name)
        if name == "old" and folder.record():  # as records were written that held the last place alone
            folder.begin(folder.record() | {"continued": "step 1: B, 1 stacked"})
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / name, watch=stopped_after(stop))
    record = folder_for(config, tmp_path / "a").record()
    assert record["machine"] == "A" and record["continued"] == ["step 1: B, 1 stacked", "step 2: A, 1 stacked"]
    assert folder_for(config, tmp_path / "old").record()["continued"] == ["step 1: B, 1 stacked", "step 1: A, 1 stacked"]


def test_a_run_stopped_in_its_final_evaluation_keeps_its_training(configure, tmp_path, monkeypatch, capsys):
    config = configure()
    whole = run(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(training, "final_evaluation", lambda run: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "stopped")
    assert_identical(run(config, tmp_path / "stopped"), whole)
    assert "continues at step 4 of 4" in capsys.readouterr().err


def test_the_number_of_threads_is_put_back(configure, tmp_path):
    torch.set_num_threads(2)
    run(configure(steps=0), tmp_path)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


# ---------------------------------------------------------------- what is written


def test_tables_hold_what_happened(configure, tmp_path):
    config = configure(curve_every=3)
    tables = run(config, tmp_path)
    metrics, problems = tables["metrics"], tables["problems"]
    watched = (folder_for(config, tmp_path).path / "metrics.jsonl").read_text()
    lines = pd.DataFrame(map(json.loads, watched.splitlines()))
    assert lines.step.tolist() == tables["updates"].step.tolist() == [0, 1, 2, 3]
    assert tables["updates"].norm.tolist() == lines["update/norm"].tolist()
    reward = metrics[metrics.metric == "train/reward"].set_index("step").value
    # A step metric is the mean since the last curve point: steps 0-2, then step 3 alone.
    assert reward.to_dict() == pytest.approx({3: lines["train/reward"][:3].mean(), 4: lines["train/reward"][3]})
    assert metrics[metrics.metric == "validation/pass@1"].step.tolist() == [0, 3, 4]
    assert set(problems.set) == {"test", "pool"} and (problems.correct <= problems.samples).all()
    assert (problems[problems.set == "test"].correct.sum() / problems[problems.set == "test"].samples.sum()
            == pytest.approx(metrics[metrics.metric == "test/pass@1"].value.item()))
    assert set(tables["rollouts"].step) == {0, 3}
    assert not metrics.duplicated(["step", "metric"]).any()


def test_a_run_of_no_steps_is_its_base(configure, tmp_path):
    tables = run(configure("base", steps=0), tmp_path)
    assert len(tables["updates"]) == 0 and set(tables["metrics"].step) == {0}
    assert "test/pass@1" in set(tables["metrics"].metric)


def test_a_probe_adds_its_numbers_and_changes_no_other(configure, tmp_path):
    start = StartConfig("chain_zero", "smoke", 2, 0, batch=4)  # any policy will do, the cheapest here
    config = configure("a3po", world="chain", start=start, steps=1, prompts_per_step=2, rollouts_per_prompt=2)
    plain, probed = run(config, tmp_path), run(config.but(probes=("faithful", "sparse")), tmp_path)
    metrics = probed["metrics"]
    added = metrics[metrics.metric.str.startswith(("probe/", "sparse/"))]
    assert set(added.metric) == {
        "probe/rewarded", "probe/faithful", "probe/hacked", "probe/unearned", "sparse/raw", "sparse/normalised"}
    assert set(added.step) == {1}  # of the finished policy
    assert_identical(probed | {"metrics": metrics.drop(added.index).reset_index(drop=True)}, plain)
    assert config.hash != config.but(probes=("sparse",)).hash and "probes" not in config.identity


def test_dynamic_sampling_is_counted(configure):
    metrics = one_step(prepare(configure("dapo"), "cpu"))
    assert metrics["sampling/drawn"] >= 64 and metrics["sampling/drawn"] % 64 == 0
    assert one_step(prepare(configure("grpo"), "cpu"))["sampling/drawn"] == 64
    fixed = one_step(prepare(configure("dapo", options=(("dynamic", False),)), "cpu"))
    assert fixed["sampling/drawn"] == 64


# ---------------------------------------------------------------- refusals, before anything is computed


@pytest.mark.parametrize(("changes", "message"), [
    ({"method": "reinforc"}, "Did you mean 'reinforce'"),
    ({"probes": ("faithfull",)}, "Unknown probe 'faithfull'. Did you mean 'faithful'"),
    ({"probes": ("sparse", "pattern")}, "Did you mean 'patterns'"),
    ({"method": "a3po", "options": (("selection", "entropi"),)}, "Did you mean 'entropy'"),
    ({"method": "lens", "options": (("scramble", "flipp"),)}, "Did you mean 'flip'"),
    ({"world": "countdwn3"}, "Did you mean 'countdown3'"),
    ({"method": "w_reinforce", "options": (("positve_weight", 1.0),)}, "Did you mean 'positive_weight'"),
    ({"pool_size": 5000}, "has 264 train problems, not 5000"),
    ({"final_problems": 5000}, "test problems, not 5000"),
    ({"curve_problems": 5000}, "validation problems, not 5000"),
])  # fmt: skip
def test_what_cannot_work_is_refused_before_computing(changes, message, configure, tmp_path, monkeypatch):
    monkeypatch.setattr("polarity_lib.run.starting_policy", lambda *a: pytest.fail("a base policy was made"))
    with pytest.raises(ConfigError, match=message):
        run(configure(**changes), tmp_path)


# ---------------------------------------------------------------- controls


def change_after_one_step(config):
    state = prepare(config, "cpu")
    before = torch.cat([p.detach().flatten().clone() for p in state.policy.model.parameters()])
    metrics = one_step(state)
    return torch.cat([p.detach().flatten() for p in state.policy.model.parameters()]) - before, metrics


def test_flipped_verdicts_push_the_other_way(configure):
    plain = {"optimizer": "sgd", "grad_clip": 0.0, "learning_rate": 1.0}
    negative, true = change_after_one_step(configure("nsr", **plain))
    praised, flipped = change_after_one_step(configure("psr", verdicts="flipped", **plain))
    assert (negative + praised).norm() < 1e-4 * negative.norm()
    assert true["update/rows_kept"] == flipped["update/rows_kept"] < 64
    assert true["train/reward"] == flipped["train/reward"]  # what is reported stays true


def test_tossed_verdicts_keep_the_number_of_rows(configure):
    moved, true = change_after_one_step(configure("nsr"))
    other, tossed = change_after_one_step(configure("nsr", verdicts="tossed"))
    assert true["update/rows_kept"] == tossed["update/rows_kept"]
    assert true["train/reward"] == tossed["train/reward"]
    assert not torch.equal(moved, other)
    assert true["signal/sign_disagreement"] == 0 < tossed["signal/sign_disagreement"]


def test_matched_updates_have_the_size_asked_for(configure, tmp_path):
    wanted = [0.3, 0.05, 0.01, 0.2]
    tables = run(configure("psr"), tmp_path, update_sizes=wanted)
    assert tables["updates"].norm.tolist() == pytest.approx(wanted, rel=1e-5)


def test_one_update_per_batch_never_clips_and_four_do(configure):
    assert one_step(prepare(configure(), "cpu"))["update/clip_share"] == 0
    run = prepare(configure(minibatches=4, learning_rate=3e-3), "cpu")
    metrics = one_step(run)
    assert 0 < metrics["update/clip_share"] < 1 and metrics["update/skipped"] == 0


def test_the_critic_learns_what_it_is_asked(configure):
    run = prepare(configure("ppo", learning_rate=1e-4), "cpu")
    errors = [one_step(run)["critic/error"] for _ in range(4)]
    assert np.isfinite(errors).all() and errors[-1] < errors[0]


def test_a_kl_term_starts_at_zero_and_then_pulls_back(configure):
    def two_gradients(**options):
        run = prepare(configure("grpo", optimizer="sgd", learning_rate=0.5, grad_clip=0.0, **options), "cpu")
        first = one_step(run)["update/gradient_norm"]
        return first, one_step(run)["update/gradient_norm"]

    plain, held = two_gradients(), two_gradients(options=(("kl", 1.0),))
    assert held[0] == pytest.approx(plain[0], rel=1e-4)  # the policy is its own reference, where k3 is flat
    assert held[1] != pytest.approx(plain[1], rel=1e-3)


# ---------------------------------------------------------------- small parts


def test_a_pass_over_the_pool_meets_every_problem_once():
    pool = world_named("countdown3").draw("train", 10, 0)
    stream = ProblemStream(pool, seed=0)
    first, second = stream.take(10), stream.take(10)
    assert sorted(p.key for p in first) == sorted(p.key for p in second) == sorted(p.key for p in pool)
    assert first != second  # shuffled anew
    assert ProblemStream(pool, seed=0, position=10).take(10) == second  # all a checkpoint needs


def test_without_a_pool_every_training_problem_is_used(configure):
    assert len(prepare(configure(pool_size=0), "cpu").stream.pool) >= 250


def test_rows_are_split_by_their_tokens(monkeypatch):
    monkeypatch.setattr(updates, "TOKENS_PER_PASS", 4)
    mask = torch.ones(5, 2)
    pieces = split_rows(torch.tensor([True, True, False, True, True]), mask)
    assert [p.nonzero()[:, 0].tolist() for p in pieces] == [[0, 1], [3, 4]]


def test_a_short_group_is_one_bundle_and_a_long_one_several_in_order(monkeypatch):
    monkeypatch.setattr(layout, "LONG_BUNDLE", 12)
    monkeypatch.setattr(layout, "SHORT_BUNDLE", 8)
    prompt, short = [1, 2], [[3] * 5, [4] * 5]
    assert split_bundle((prompt, short)) == [(prompt, short)]  # 12 positions, not more than 12
    # Parts have room for 6 tokens beside the prompt; the 7 do not fit anywhere and stand alone.
    answers = [[3] * 4, [4] * 2, [5] * 3, [6] * 7, [7] * 2, [8] * 4, [9]]
    parts = split_bundle((prompt, answers))
    assert [[len(a) for a in rows] for _, rows in parts] == [[4, 2], [3], [7], [2, 4], [1]]
    assert all(p == prompt for p, _ in parts) and [a for _, rows in parts for a in rows] == answers
    assert split_bundle((prompt, [[5] * 20])) == [(prompt, [[5] * 20])]  # one long answer cannot be split


def test_a_group_in_several_bundles_has_the_same_logprobs_and_gradient(policy, monkeypatch):
    problems = world_named("countdown3").draw("train", 2, 0) + world_named("chain").draw("train", 2, 0)
    rollouts = make_sampler(policy, max_new_tokens=24).sample(problems, 5, "bundles")
    rows = torch.arange(20) != 7  # a row in the middle of a group stays out

    def measured():
        packed = pack_rows(rollouts, rows, policy)
        logprobs_NT, entropies_NT, _ = token_logprobs(policy.model, packed, rollouts.mask_NT[rows])
        gradient = torch.autograd.grad(logprobs_NT.square().sum(), list(policy.model.parameters()))
        return len(packed.ids_SL), logprobs_NT.detach(), entropies_NT, torch.cat([g.flatten() for g in gradient])

    whole = measured()
    assert torch.allclose(whole[1], rollouts.logprobs_NT[rows], atol=1e-4)
    monkeypatch.setattr(layout, "LONG_BUNDLE", 40)
    monkeypatch.setattr(layout, "SHORT_BUNDLE", 30)
    split = measured()
    assert sum(len(split_bundle((rollouts.prompt_ids[5 * g], [[1] * 20] * 5))) for g in range(4)) > 4
    assert torch.allclose(split[1], whole[1], atol=1e-5) and torch.allclose(split[2], whole[2], atol=1e-5)
    assert (split[3] - whole[3]).norm() < 1e-5 * whole[3].norm()


def test_a_twin_starts_from_the_same_policy_and_problems_and_has_other_luck(configure, tmp_path):
    own, twin = (train(c, RunFolder(c.name, c.identity, tmp_path)) for c in (configure(), configure(stream=1)))
    of = {name: t["metrics"].set_index(["metric", "step"]).value for name, t in (("own", own), ("twin", twin))}
    assert of["own"]["validation/pass@1", 0] == of["twin"]["validation/pass@1", 0]  # evaluated with the same numbers
    assert own["updates"].norm.tolist() != twin["updates"].norm.tolist()
    assert configure().hash == configure(stream=0).hash != configure(stream=1).hash


def test_what_the_trainings_own_verifier_pays_is_logged(configure, tmp_path):
    """Flipped verdicts pay exactly the answers that are truly not right."""
    config = configure(verdicts="flipped")
    rows = train(config, RunFolder(config.name, config.identity, tmp_path))["metrics"].query("step > 0")
    value = rows.groupby("metric").value.mean()
    assert value["train/paid"] == pytest.approx(1 - value["train/reward"])


# ---------------------------------------------------------------- policies that are lost


@pytest.mark.parametrize("method", ["grpo", "reinforce", "psr", "rloo"])
def test_a_rate_that_destroys_the_policy_ends_the_run_and_is_no_result(method, configure, tmp_path, capsys):
    config = configure(method, learning_rate=1e38, steps=6)
    folder = RunFolder(config.name, config.identity, tmp_path)
    tables = train(config, folder)
    said = capsys.readouterr().err
    assert re.search(r"is not finite at step \d of 6 \(learning rate 1e\+38\); the run ends here", said)
    assert not (folder.path / "done.json").exists() and (folder.path / "diverged.json").exists()
    last = tables["metrics"].sort_values("step", kind="stable").groupby("metric").value.last()
    assert last["run/diverged"] == 1 and last["test/pass@1"] == last["test/pass@4"] == 0
    assert tables["metrics"].query("metric == 'validation/entropy' and step == 0").value.item() > 0  # what there was stays
    assert not tables["metrics"].duplicated(["step", "metric"]).any()  # also where it is lost right behind a curve point
    again = folder.load()
    assert again["metrics"].equals(tables["metrics"]) and not tables["problems"].correct.any()
    assert len(tables["problems"].query("set == 'test'")) == config.final_problems


def test_the_true_cause_is_named(configure, tmp_path, monkeypatch, capsys):
    """Weights that are lost on the way are not reported as logits in the wrong place."""
    config = configure("grpo", steps=2)
    run = prepare(config, "cpu")
    with torch.no_grad():
        next(run.policy.model.parameters())[:] = float("nan")
    with pytest.raises(Diverged, match="not finite at step 0 of 2"):
        for _ in range(3):
            training.one_step(run)
