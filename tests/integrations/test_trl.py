"""Our methods under TRL: against our own arithmetic, against TRL's own losses, over two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("trl")

import pandas as pd  # noqa: E402
from transformers import set_seed  # noqa: E402
from trl.rewards import get_soft_overlong_punishment  # noqa: E402
from trl_helpers import LONGEST, config_in, dataset, luck, signed_luck, sharp_policy, trainer_in, weights_of  # noqa: E402

from polarity_lib.config import ConfigError  # noqa: E402
from polarity_lib.integrations.rewards import math_reward  # noqa: E402
from polarity_lib.integrations.shared import as_rollouts, obstacle  # noqa: E402
from polarity_lib.integrations.trl import MethodTrainer  # noqa: E402
from polarity_lib.methods import Progress, method_named, rows_kept  # noqa: E402
from polarity_lib.objectives import BatchCounts  # noqa: E402
from polarity_lib.policy import pack, token_distributions, token_logprobs  # noqa: E402
from polarity_lib.registry import METHODS  # noqa: E402
from polarity_lib.results import ROOT  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


def runs_here(name: str) -> dict | None:
    """The options with which a method can run here; None if it cannot."""
    for options in ({}, {"dynamic": False}):
        try:
            method = method_named(name, options)
        except ConfigError:
            continue
        if not obstacle(method):
            return options
    return None


HERE = sorted(name for name in METHODS if runs_here(name) is not None)


# ---------------------------------------------------------------- the same tensors


@pytest.fixture(scope="module")
def trainer(scratch_runs, tmp_path_factory):
    return trainer_in(tmp_path_factory.mktemp("trl"), "grpo", {"kl": 0.1})  # with a reference model


def ours(method, batch, old_policy, new_policy, updates):
    """Loss and gradient of a batch by the library alone: its packing, its log-probabilities, its record of rollouts."""
    mask_NT = batch["completion_mask"].float()
    length_N = mask_NT.sum(1).long().tolist()
    answers = [ids[:n].tolist() for ids, n in zip(batch["completion_ids"], length_N)]
    prompts = [ids[m.bool()].tolist() for ids, m in zip(batch["prompt_ids"], batch["prompt_mask"])]
    packed = pack([(prompt, [answer]) for prompt, answer in zip(prompts, answers)])
    with torch.no_grad():
        old_NT, entropies_NT, hidden_MC = token_logprobs(old_policy.model, packed, mask_NT)
        logs_MV = token_distributions(old_policy.model, hidden_MC)
    logs_NTV = torch.zeros(*mask_NT.shape, logs_MV.shape[1])
    logs_NTV[mask_NT.bool()] = logs_MV
    rollouts = as_rollouts(torch.tensor(luck(answers)) > 0, torch.arange(len(answers)) // 4, mask_NT, old_NT, entropies_NT,
                           LONGEST, [old_policy.tokenizer.decode(p) for p in prompts])
    rollouts = rollouts.but(finished_N=torch.tensor([old_policy.tokenizer.eos_token_id in answer for answer in answers]))
    rewards_N = method.reward(rollouts)
    keep_N = rows_kept(method, rewards_N, rollouts.group_N)
    advantages_NT = method.advantage(rollouts, rewards_N, Progress(0, 4, updates)) * keep_N[:, None]
    logprobs_NT, entropies_NT, _ = token_logprobs(new_policy.model, packed, mask_NT)
    extras = {"reference_logprobs": old_NT, "old_distributions": logs_NTV, "entropies": entropies_NT}
    kept = {k: v[keep_N] for k, v in extras.items() if k in method.needs}
    counts = BatchCounts.of(mask_NT, keep_N, LONGEST)
    loss_NT = method.token_loss(logprobs_NT[keep_N], old_NT[keep_N], advantages_NT[keep_N], mask_NT[keep_N], kept)
    loss = method.aggregate(loss_NT, mask_NT[keep_N], counts)
    return loss.item(), torch.autograd.grad(loss, list(new_policy.model.parameters()))


def moved(policy):
    """The same policy a step later."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in policy.model.parameters():
            p.add_(0.03 * torch.randn(p.shape, generator=generator))
    return policy


SILENT = ("base", "osi_none", "grpo_cut", "nsr_cut")  # no update; the others have none on truncated answers, and all of these are


@pytest.mark.parametrize("name", [*HERE, "grpo with kl"])
def test_a_method_gives_our_numbers_on_the_same_tensors(trainer, name):
    name, options = ("grpo", {"kl": 0.1}) if name == "grpo with kl" else (name, runs_here(name))
    trainer.method = method_named(name, options)
    trainer.model.load_state_dict(sharp_policy().model.state_dict())
    trainer.model.train()
    trainer.state.max_steps = trainer.args.max_steps
    torch.manual_seed(3)
    batch = trainer._generate_and_score_completions([example for example in dataset(4) for _ in range(4)])
    assert 0 < (batch["advantages"] != 0).sum() or name in SILENT
    trainer.model.load_state_dict(moved(sharp_policy()).model.state_dict())
    trainer._counts = trainer._counted([batch])
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    expected, gradient = ours(trainer.method, batch, sharp_policy(), moved(sharp_policy()), trainer.updates_per_batch)
    assert loss.item() == pytest.approx(expected, abs=1e-6, rel=1e-4)
    largest = max(float(g.abs().max()) for g in gradient)
    assert largest > 1e-4 or name in SILENT
    for p, g in zip(trainer.model.parameters(), gradient):
        assert torch.allclose(p.grad, g, atol=1e-4 * largest + 1e-9)


def test_a_schedule_changes_with_the_run(trainer):
    trainer.method = method_named("neg_to_pos")
    trainer.model.train()
    trainer.state.max_steps = 10 * trainer.updates_per_batch
    kept = {}
    for when, batches in (("first", 0), ("last", 9)):
        trainer._step = batches * trainer.args.steps_per_generation * trainer.num_iterations
        torch.manual_seed(3)
        batch = trainer._generate_and_score_completions([example for example in dataset(4) for _ in range(4)])
        kept[when] = batch["keep"]
    trainer._step = 0
    assert not kept["first"].all() and kept["last"].all()


# ---------------------------------------------------------------- TRL's own losses

OVERLONG = get_soft_overlong_punishment(max_completion_len=LONGEST, soft_punish_cache=2)
TWINS = {  # ours with options, TRL's settings
    "grpo": ({"epsilon": 1e-4}, {"loss_type": "grpo", "scale_rewards": "group"}),
    "dr_grpo": ({}, {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    "dapo": ({"dynamic": False, "buffer_share": 0.25},
             {"loss_type": "dapo", "scale_rewards": "group", "epsilon_high": 0.28, "reward_funcs": [signed_luck, OVERLONG]}),
    "gspo": ({}, {"loss_type": "grpo", "scale_rewards": "group", "importance_sampling_level": "sequence",
                  "epsilon": 3e-4, "epsilon_high": 4e-4}),
    "cispo": ({}, {"loss_type": "cispo", "scale_rewards": "group", "epsilon_high": 1.28}),
}


@pytest.mark.parametrize("name", TWINS)
def test_ours_equals_theirs(name, tmp_path):
    """Four updates, two on each batch of answers, so that ratios leave 1 and are clipped."""
    options, settings = TWINS[name]
    start = weights_of(trainer_in(tmp_path, "base"))
    ends = []
    for trainer in (trainer_in(tmp_path, name, options), trainer_in(tmp_path, **settings)):
        set_seed(1)
        trainer.train()
        ends.append(weights_of(trainer) - start)
    mine, theirs = ends
    assert theirs.norm() > 1e-2
    # What is left is the epsilon under the spread: 1e-6 in ours, 1e-4 in TRL.
    assert (mine - theirs).norm() < 1e-3 * theirs.norm()


def test_methods_differ_here(tmp_path):
    """Or the test above would show nothing."""
    ends = []
    for name in ("grpo", "nsr"):
        trainer = trainer_in(tmp_path, name, max_steps=2)
        set_seed(1)
        trainer.train()
        ends.append(weights_of(trainer))
    assert (ends[0] - ends[1]).norm() > 1e-2


# ---------------------------------------------------------------- what is written and refused


def test_what_is_logged_is_ours(tmp_path):
    trainer = trainer_in(tmp_path, "nsr", max_steps=2, logging_strategy="steps", logging_steps=1, log_completions=True)
    trainer.train()
    table = pd.concat(pd.read_parquet(path) for path in sorted(Path(tmp_path, "completions").glob("*.parquet")))
    assert set(table["advantage"]) == {0.0, -1.0}  # right rows dropped, wrong ones at -1
    assert ((table["advantage"] == 0) == (table["luck"] == 1)).all()
    logged = [row for row in trainer.state.log_history if "signal/right_share" in row]
    assert logged and all(row["signal/right_share"] == 0 for row in logged)


@pytest.mark.parametrize(("method", "options", "settings", "line"), [
    ("grppo", None, {}, "Did you mean 'grpo'"),
    ("ppo", None, {}, "needs a critic"),
    ("dapo", None, {}, "dynamic=False"),
    ("grpo", None, {"beta": 0.1}, "beta is decided by the method 'grpo'"),
    ("grpo", None, {"loss_type": "dr_grpo"}, "loss_type is decided"),
    ("grpo", None, {"gradient_accumulation_steps": 4, "steps_per_generation": 2}, "must divide steps_per_generation"),
])
def test_what_would_be_ignored_or_wrong_is_refused(method, options, settings, line, tmp_path):
    with pytest.raises(ConfigError, match=line):
        trainer_in(tmp_path, method, options, **settings)


def test_evaluation_works_too(tmp_path):
    policy = sharp_policy()
    trainer = MethodTrainer(method="grpo", model=policy.model, reward_funcs=luck, eval_dataset=dataset(4),
                            args=config_in(tmp_path, max_steps=1, per_device_eval_batch_size=8, model_init_kwargs=None),
                            train_dataset=dataset(), processing_class=policy.tokenizer)
    assert trainer.evaluate()["eval_reward"] == pytest.approx(1 / 3, abs=0.3)


# ---------------------------------------------------------------- two processes, the example, the verifier


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(tmp_path):
    """Counts of the whole step, groups of the whole batch: splitting rows over processes changes nothing."""
    script = ROOT / "tests" / "integrations" / "trl_two_processes.py"
    found = {}
    for processes in (1, 2):
        out = tmp_path / f"{processes}.pt"
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
             script, out, str(tmp_path)],  # `accelerate launch` starts one process where there is no GPU, whatever it is told
            capture_output=True, text=True, timeout=900,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(script.parent)]), "OMP_NUM_THREADS": "1",
                              "ACCELERATE_USE_CPU": "true"})
        assert done.returncode == 0, done.stderr[-3000:]
        found[processes] = torch.load(out)
    assert found[1].keys() == found[2].keys() and len(found[1]) == 3
    for name, (start, end, world) in found[2].items():
        assert world == 2
        step = (found[1][name][1] - found[1][name][0]).norm()
        assert step > 1e-2 and (end - found[1][name][1]).norm() < 1e-4 * step


@pytest.mark.slow
def test_the_example_runs(tmp_path):
    example = ROOT / "docs" / "examples" / "trl_method.py"
    assert len(example.read_text().splitlines()) < 40
    sharp_policy().save(tmp_path / "model")
    done = subprocess.run([sys.executable, example, str(tmp_path / "model"), "nsr", str(tmp_path / "out"), "1"],
                          capture_output=True, text=True, timeout=900, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_the_verifier_in_trls_signature():
    extra = {}
    columns = {"prompts": ["?"] * 3, "completion_ids": [[1]] * 3, "answer": ["1/2", "7", 7], "trainer_state": None}
    paid = math_reward(completions=[r"so \boxed{0.5}", [{"role": "assistant", "content": r"\boxed{8}"}], ""],
                       log_extra=lambda column, values: extra.update({column: values}), **columns)
    assert paid == [1.0, 0.0, 0.0]
    assert extra == {"verdict": ["correct", "wrong", "no_answer"]}
    with pytest.raises(KeyError, match="answer, solution, gold or ground_truth"):
        math_reward(completions=["1"], prompts=["?"])


@pytest.mark.slow
def test_the_verifier_pays_in_a_trainer(tmp_path):
    trainer = trainer_in(tmp_path, "grpo", reward_funcs=math_reward, max_steps=1, logging_strategy="steps", logging_steps=1)
    trainer.train()
    assert any("rewards/math_reward/mean" in row for row in trainer.state.log_history)
