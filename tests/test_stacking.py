"""R stacked runs are the same R single runs: identical tokens, numbers within float32's rounding, whatever else is in it."""


import numpy as np
import pandas as pd
import pytest
import torch

from polarity_lib import experiments, updates
from polarity_lib.config import ConfigError, OfflineConfig, StartConfig
from polarity_lib.engines import FastSampler
from polarity_lib.engines.stacked import Decode, StackedModel
from polarity_lib.engines.torch_sampler import uniforms
from polarity_lib.experiments import Arm, train_or_load
from polarity_lib.policy import build_policy, pack, token_logprobs
from polarity_lib.problems import world_named
from polarity_lib.results import RunFolder, without_timings
from polarity_lib.stacking import Wanted, memory_of_run, runs_at_once, stack_key, stacks_of, train_stacked
from polarity_lib.training import train

# Float32 sums in another order differ by about 1e-7; Adam divides by small numbers, and four steps add up.
CLOSE = {"rtol": 2e-4, "atol": 2e-5}


def folder_for(config, root) -> RunFolder:
    return RunFolder(config.name, config.identity, root)


def stacked(configs, root, sizes=None, watch=None, device="cpu"):
    wanted = [Wanted(c, folder_for(c, root), (sizes or {}).get(c.hash), watch) for c in configs]
    return train_stacked(wanted, device)


def alone(config, root, **options):
    return train(config, folder_for(config, root), device="cpu", **options)


def assert_same_run(ours, single, close=CLOSE):
    """Sampled answers and their counts are identical; numbers agree within `close`."""
    pd.testing.assert_frame_equal(ours["problems"], single["problems"], check_exact=True)
    columns = ["step", "prompt", "response", "label", "tokens"]
    pd.testing.assert_frame_equal(ours["rollouts"][columns], single["rollouts"][columns], check_exact=True)
    np.testing.assert_allclose(ours["updates"].norm, single["updates"].norm, **close)
    left, right = (without_timings(t["metrics"]) for t in (ours, single))
    assert left[["step", "metric"]].equals(right[["step", "metric"]])
    for row, value in zip(left.itertuples(), right.value):
        # The gap to the sampler is itself rounding, and another batch rounds otherwise.
        tolerance = {"rtol": 0, "atol": 1e-4} if row.metric == "update/sampler_gap" else close
        np.testing.assert_allclose(row.value, value, err_msg=f"{row.metric} at step {row.step}", **tolerance)


@pytest.fixture
def configure(configure):
    """Rates like those of the study: at 1e-3 four steps of Adam carry rounding up to where tokens flip."""
    return lambda method="reinforce", **changes: configure(method, **({"learning_rate": 1e-4} | changes))


ARMS = {
    "grpo": {"method": "grpo"},
    "psr": {"method": "psr", "seed": 1, "learning_rate": 3e-4},
    "nsr": {"method": "nsr", "seed": 2, "learning_rate": 5e-5},
    "a3po": {"method": "a3po"},
    "lens": {"method": "lens", "learning_rate": 2e-4},
    "ppo": {"method": "ppo", "seed": 1},  # carries a critic
    "kl": {"method": "grpo", "options": (("kl", 0.1),)},  # carries a reference
    "dapo": {"method": "dapo", "seed": 2},  # draws more than once
    "free": {"method": "reinforce", "grad_clip": 0.0},
}


@pytest.mark.parametrize("sizes", [{}, {"minibatches": 4}, {"optimizer": "sgd", "learning_rate": 1e-2}],
                         ids=["one update", "four updates", "sgd"])  # fmt: skip
def test_stacked_runs_equal_single_runs(sizes, configure, tmp_path):
    configs = {name: configure(**(changes | sizes)) for name, changes in ARMS.items()}
    assert len({stack_key(c) for c in configs.values()}) == 1
    together = dict(zip(configs, stacked(configs.values(), tmp_path / "stacked")))
    for name, config in configs.items():
        assert_same_run(together[name], alone(config, tmp_path / "alone"))
        record = folder_for(config, tmp_path / "stacked").record()
        assert record["stacked"] == len(configs)
        assert "stacked" not in folder_for(config, tmp_path / "alone").record()


def test_an_arm_with_matched_updates(configure, tmp_path):
    config, wanted = configure("psr"), [0.03, 0.005, 0.001, 0.02]
    ours, other = stacked([config, configure("nsr")], tmp_path / "stacked", {config.hash: wanted})
    assert ours["updates"].norm.tolist() == pytest.approx(wanted, rel=1e-5)
    assert_same_run(ours, alone(config, tmp_path / "alone", update_sizes=wanted))
    assert_same_run(other, alone(configure("nsr"), tmp_path / "alone"))


# ---------------------------------------------------------------- killed, moved, lost


def interrupting(at):
    def interrupt(step, steps, left):
        if step == at:
            raise KeyboardInterrupt

    return interrupt


@pytest.mark.parametrize("places", [("stacked", "stacked"), ("alone", "stacked"), ("stacked", "alone")], ids="-".join)
def test_a_run_that_was_killed_continues_anywhere(places, configure, tmp_path):
    configs = [configure("ppo", minibatches=2), configure("nsr", minibatches=2, seed=1)]
    for place, watch in zip(places, (interrupting(3), None)):
        try:
            if place == "stacked":
                ended = stacked(configs, tmp_path / "runs", watch=watch)
            else:
                ended = []
                for config in configs:
                    try:
                        ended.append(alone(config, tmp_path / "runs", watch=watch))
                    except KeyboardInterrupt:
                        pass
        except KeyboardInterrupt:
            assert watch is not None
    for config, found in zip(configs, ended):
        assert_same_run(found, alone(config, tmp_path / "whole"))
        record = folder_for(config, tmp_path / "runs").record()
        assert ("continued" in record) == (places[0] != places[1])
        if places == ("alone", "stacked"):
            assert len(record["continued"]) == 1
            assert record["continued"][0].startswith("step 2: ") and record["continued"][0].endswith(", 2 stacked")


def test_a_run_that_diverges_leaves_the_others_unharmed(configure, tmp_path, capsys):
    lost, fine = configure("grpo", learning_rate=1e38), [configure("grpo"), configure("psr", seed=1)]
    tables = stacked([fine[0], lost, fine[1]], tmp_path / "stacked")
    assert "the run ends here, as a collapse" in capsys.readouterr().err
    folder = folder_for(lost, tmp_path / "stacked").path
    assert (folder / "diverged.json").exists() and not (folder / "done.json").exists()
    assert tables[1]["metrics"].query("metric == 'run/diverged'").value.item() == 1
    for found, config in zip((tables[0], tables[2]), fine):
        assert_same_run(found, alone(config, tmp_path / "alone"))


def test_an_error_ends_its_run_and_is_raised_when_the_others_are_done(configure, tmp_path):
    wrong, fine = configure("grpo"), configure("psr")

    def broken(step, steps, left):
        raise RuntimeError("by hand")

    wanted = [Wanted(wrong, folder_for(wrong, tmp_path), None, broken), Wanted(fine, folder_for(fine, tmp_path))]
    with pytest.raises(RuntimeError, match="by hand"):
        train_stacked(wanted, "cpu")
    assert folder_for(fine, tmp_path).load() is not None and folder_for(wrong, tmp_path).load() is None


def test_a_batch_too_large_for_one_pass(configure, tmp_path, monkeypatch):
    configs = [configure("grpo"), configure("nsr")]
    whole = stacked(configs, tmp_path / "whole")
    monkeypatch.setattr(updates, "TOKENS_PER_PASS", 200)
    for ours, expected in zip(stacked(configs, tmp_path / "pieces"), whole):
        assert_same_run(ours, expected)


# ---------------------------------------------------------------- the model and its decoder


def shaken(number: int):
    """A random policy whose norms are not all ones."""
    policy = build_policy("smoke", number)
    torch.manual_seed(number)
    with torch.no_grad():
        for name, p in policy.model.named_parameters():
            p.uniform_(0.5, 1.5) if "norm" in name else p.mul_(4)
    return policy


PROBLEMS = world_named("countdown3").draw("train", 3, 0) + world_named("chain").draw("train", 3, 0)


def test_log_probabilities_and_gradients_of_each_run_are_its_own():
    policies, twins = ([shaken(n) for n in range(3)] for _ in "ab")
    model, temperatures = StackedModel(policies, "cpu"), [1.0, 0.7, 1.3]
    # Different numbers of prompts and lengths; 0 is padding, which may be sampled and never learns.
    bundles = [[([5, 6, 7], [[8, 0, 1], [10, 1]]), ([5] * 9, [[8] * 20])], [([7, 8], [[9, 1]])], [([5] * 3, [[4] * 70, [3, 1]])]]
    for runs in ([0, 1, 2], [0, 2]):
        packed = [pack(bundles[n]) for n in runs]
        logprobs, entropies, hidden = model.token_logprobs(runs, packed, [temperatures[n] for n in runs])
        real = [slice(0, len(p.targets_M)) for p in packed]
        model.flat_RW.grad = None
        sum(row[some].square().sum() for row, some in zip(logprobs, real)).backward()
        for i, n in enumerate(runs):
            twin, lengths = twins[n].model, [torch.ones(len(row)) for _, rows in bundles[n] for row in rows]
            mask = torch.nn.utils.rnn.pad_sequence(lengths, batch_first=True)
            expected = token_logprobs(twin, packed[i], mask, temperatures[n])
            assert torch.allclose(logprobs[i, real[i]], expected[0][mask.bool()], atol=1e-4)
            assert torch.allclose(entropies[i, real[i]], expected[1][mask.bool()], atol=1e-4)
            assert torch.allclose(hidden[i, real[i]], expected[2], atol=1e-4)
            twin.zero_grad()
            expected[0].square().sum().backward()
            gradient = torch.cat([p.grad.flatten() for p in twin.parameters()])
            assert (model.flat_RW.grad[n] - gradient).norm() < 1e-4 * gradient.norm()
        assert runs == [0, 1, 2] or not model.flat_RW.grad[1].any()


@pytest.mark.parametrize(("options", "top_p"), [({}, 1.0), ({"temperature": 0.7}, 0.9), ({"greedy": True}, 1.0)])
def test_rows_of_a_stack_are_those_of_the_fast_sampler(options, top_p):
    policies = [shaken(n) for n in range(3)]
    model = StackedModel(policies, "cpu")
    asked, theirs = [], []
    for number, policy in enumerate(policies):
        problems = PROBLEMS[number:]  # runs with fewer prompts, and shorter ones
        single = FastSampler(policy, top_p=top_p, max_new_tokens=40, **options)
        theirs.append(single.sample(problems, 4, f"{number}"))
        numbers = None if options.get("greedy") else uniforms(f"{number}", problems, 4, 40)
        asked.append(Decode([policy.encode(p.prompt) for p in problems], 4, 40, numbers, options.get("temperature", 1.0), top_p,
                            policy.ends))
    for runs in ([0, 1, 2], [1, 2], [0, 1, 2]):  # some alone; and again, with what the first time left in the caches
        for n, (tokens, logprobs, entropies, lengths, finished) in zip(runs, model.decode(runs, [asked[n] for n in runs])):
            T, expected = theirs[n].mask_NT.shape[1], theirs[n]
            assert lengths.tolist() == expected.mask_NT.sum(1).tolist() and finished.tolist() == expected.finished_N.tolist()
            real = expected.mask_NT.bool()
            assert torch.equal(tokens[:, :T][real], expected.tokens_NT[real])
            assert torch.allclose(logprobs[:, :T][real], expected.logprobs_NT[real], atol=1e-4)
            assert torch.allclose(entropies[:, :T][real], expected.entropies_NT[real], atol=1e-4)


def test_what_cannot_be_stacked_is_refused():
    one, other = build_policy("smoke", 0), build_policy("tiny", 0)
    with pytest.raises(ConfigError, match="different shapes"):
        StackedModel([one, other], "cpu")
    one.model.config.num_key_value_heads = 1
    with pytest.raises(ConfigError, match="Llama-shaped"):
        StackedModel([one], "cpu")


# ---------------------------------------------------------------- which runs, and how many


def test_runs_of_one_shape_and_one_protocol_go_together(configure):
    seeds = [configure(seed=s) for s in range(5)]
    others = [configure(minibatches=2), configure(steps=2), configure(world="countdown4"), configure(optimizer="sgd")]
    rounds = configure(offline=OfflineConfig(4, 8, rounds=2))
    assert stack_key(rounds) is None
    assert stacks_of([*seeds, *others, rounds], 80e9) == [seeds]  # the others are one each
    few = 2.6 * memory_of_run(seeds[0])
    assert runs_at_once(seeds[0], few) == 2 and runs_at_once(seeds[0], 0) == 1
    assert [len(some) for some in stacks_of(seeds, few)] == [2, 2]  # the last one goes alone
    assert stacks_of(seeds, 0) == []


def test_a_larger_run_takes_more_memory(configure):
    base = memory_of_run(configure())
    changes = {"start": StartConfig("countdown", "tiny", 1000, 0)}, {"prompts_per_step": 512, "pool_size": 0}, {"world": "chain"}
    assert all(memory_of_run(configure(**change)) > base for change in changes)


def test_an_experiment_on_a_gpu_stacks_what_it_can(configure, own_runs, monkeypatch):
    """compute_stacked on the CPU: a pair, an arm matched to it, one run that goes alone."""
    first = configure("grpo")
    matched = configure("psr", matched_to=first.hash)
    arms = [Arm("test", "grpo", first, "smoke"), Arm("test", "nsr", configure("nsr", seed=1), "smoke"),
            Arm("test", "matched", matched, "smoke", first), Arm("test", "matched too", matched.but(seed=1), "smoke", first),
            Arm("test", "short", configure(steps=1), "smoke")]
    assert experiments.compute_stacked(arms, "cpu", reuse_published=False, progress=False) == 4
    runs = train_or_load(arms, reuse_published=False, progress=False, device="cpu")
    stacked = [RunFolder(a.config.name, a.config.identity).record().get("stacked", 1) for a in arms]
    assert stacked == [2, 2, 2, 2, 1]
    norms = [experiments.kept_run(config)["updates"].norm.tolist() for config in (first, matched)]
    assert norms[1] == pytest.approx(norms[0], rel=1e-5) and len(runs.arms) == 5
    assert experiments.compute_stacked(arms, "cpu", reuse_published=False, progress=False) == 0
