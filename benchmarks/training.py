"""Seconds per GRPO step on a tiny policy: ours beside TRL's trainer, in one run.

    python benchmarks/training.py

The same base policy, 32 prompts x 8 rollouts of countdown, up to 16 new
tokens, one update per batch, AdamW, gradient clip 1.0, no KL, one thread, the
same checker as reward. Ours includes everything a step of a run does.
"""

import tempfile
import time

import torch
from common import keep

from polarity_lib import training
from polarity_lib.config import RunConfig, StartConfig
from polarity_lib.evaluation import evaluate
from polarity_lib.pretraining import base_policy
from polarity_lib.problems import world_named
from polarity_lib.verification.worlds import check_countdown

START = StartConfig("countdown", "tiny", 1000, 0)
CONFIG = RunConfig("grpo", "countdown3", START, 0, steps=200, learning_rate=2e-5)
STEPS = 12


def our_step() -> tuple[float, dict]:
    """Median seconds of a step and of its parts."""
    run = training.prepare(CONFIG, "cpu")
    seconds, parts = [], []
    for _ in range(STEPS):
        began = time.perf_counter()
        metrics = training.one_step(run)
        run.step += 1
        seconds.append(time.perf_counter() - began)
        parts.append({k: v for k, v in metrics.items() if k.startswith("timing.")})
    middle = sorted(range(STEPS), key=seconds.__getitem__)[STEPS // 2]
    return seconds[middle], parts[middle]


def trl_step() -> float:
    """Median seconds of a step of TRL's GRPOTrainer."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    policy = base_policy(START)
    policy.tokenizer.padding_side = "left"
    problems = world_named(CONFIG.world).draw("train", CONFIG.pool_size, 0)
    stamps = []

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            stamps.append(time.perf_counter())

    def reward(prompts, completions, **kwargs):
        return [float(check_countdown(p, c).is_correct) for p, c in zip(prompts, completions)]

    with tempfile.TemporaryDirectory() as folder:
        args = GRPOConfig(
            output_dir=folder, per_device_train_batch_size=256, num_generations=8, max_completion_length=16,
            learning_rate=2e-5, beta=0.0, max_steps=STEPS, max_grad_norm=1.0, use_cpu=True, report_to=[],
            save_strategy="no", logging_steps=1000, disable_tqdm=True, bf16=False, gradient_checkpointing=False)
        trainer = GRPOTrainer(
            model=policy.model, reward_funcs=reward, args=args, processing_class=policy.tokenizer,
            train_dataset=Dataset.from_list([{"prompt": p.prompt} for p in problems]), callbacks=[Clock()])
        trainer.train()
    gaps = sorted(b - a for a, b in zip(stamps, stamps[1:]))
    return gaps[len(gaps) // 2]


def main():
    torch.set_num_threads(1)
    ours, parts = our_step()
    policy = base_policy(START)
    test = world_named("countdown3").draw("test", 500, 0)
    began = time.perf_counter()
    evaluate(policy, test, 64, "bench")
    evaluation = time.perf_counter() - began
    peer = trl_step()
    rows = [
        {"what": "GRPO step, 32 x 8", "unit": "s", "ours": round(ours, 4), "peer": round(peer, 4),
         "peer_name": "TRL GRPOTrainer", "ratio": round(peer / ours, 2), "parts": {k: round(v, 4) for k, v in parts.items()}},
        {"what": "200 steps", "unit": "s", "ours": round(200 * ours, 1), "peer": round(200 * peer, 1),
         "peer_name": "TRL GRPOTrainer", "ratio": round(peer / ours, 2)},
        {"what": "final evaluation, 500 x 64", "unit": "s", "ours": round(evaluation, 1), "peer": None,
         "peer_name": None, "ratio": None},
    ]
    keep("training", rows, ("torch", "transformers", "trl"))


if __name__ == "__main__":
    main()
