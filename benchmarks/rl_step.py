"""Seconds per GRPO step of a small language model: ours beside TRL's trainer, in one run.

    python benchmarks/rl_step.py                       --device cuda on a GPU

A Qwen2-shaped model of 1 M parameters, 16 prompts of 64 tokens, 8 answers of 64 tokens each, one update per batch, AdamW,
gradient clip 1.0, no KL, one thread. A step is all of it: sampling, verdicts, advantages, loss, update. The reward is a coin
that the answer's text tosses, so that hardly any group is dead by itself; in the rows that say so, half of the groups are
dead on purpose. Ours leaves dead groups out of the update; TRL computes them.

`floor`: what our step's matrix products alone would take at the speed of one large product; no loop in float32 is faster.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from common import arithmetic, floor_of, keep, shares, write_qwen2

from polarity_lib import training
from polarity_lib.config import ModelConfig, RunConfig, StartConfig
from polarity_lib.problems import world_named
from polarity_lib.run import prepare
from polarity_lib.verification.verdicts import Verdict

PROMPTS, GROUP, PROMPT, ANSWER = 16, 8, 64, 64
RATE = 1e-6
LORA = 16


def problems(count: int) -> list:
    """Problems of countdown, their prompts made longer by others in front."""
    drawn = world_named("countdown3").draw("train", count, 0)
    everything = "".join(p.prompt for p in drawn) * 2
    return [replace(p, prompt=everything[7 * i : 7 * i + PROMPT - len(p.prompt)] + p.prompt) for i, p in enumerate(drawn)]


def coin(text: str) -> bool:
    """A reward that no answer can be made for: whether it holds an even number of some signs."""
    return sum(map(text.count, "13579+")) % 2 == 0


def our_step(folder: Path, steps: int, device: str, lora: int, dead: set[str]) -> tuple[float, dict]:
    """Median seconds of a step and of its parts; of one more step the shares by kind of operation, of another its arithmetic."""
    model = ModelConfig(name=str(folder), answer_tokens=ANSWER, lora_rank=lora)
    config = RunConfig("grpo", "countdown3", StartConfig("", "", 0, 0, model=model), 0, steps=steps, learning_rate=RATE,
                       prompts_per_step=PROMPTS, rollouts_per_prompt=GROUP, minibatches=1)
    run = prepare(config, device)
    run.stream.pool = problems(256)
    draw = run.method.collect

    def collect(*how):
        drawn = draw(*how)
        return drawn.but(verdicts=[Verdict("correct" if p.prompt not in dead and coin(t) else "wrong", t, p.gold, "a coin")
                                   for p, t in zip(drawn.problems, drawn.texts)])

    run.method = replace(run.method, collect=collect)
    seconds, parts = [], []
    for _ in range(steps):
        began = time.perf_counter()
        metrics = training.one_step(run)
        run.step += 1
        seconds.append(time.perf_counter() - began)
        parts.append({k: v for k, v in metrics.items() if k.startswith("timing.")})
    middle = {name: round(statistics.median(p[name] for p in parts[1:]), 4) for name in parts[0]}
    more = {"shares": shares(lambda: training.one_step(run)), "operations": arithmetic(lambda: training.one_step(run))}
    return statistics.median(seconds[1:]), middle | more


def trl_step(folder: Path, steps: int, device: str, lora: int, dead: set[str]) -> float:
    """Median seconds of a step of TRL's GRPOTrainer."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    stamps = []

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            stamps.append(time.perf_counter())

    def reward(prompts, completions, **kwargs):
        return [float(p not in dead and coin(c)) for p, c in zip(prompts, completions)]

    with tempfile.TemporaryDirectory() as output:
        args = GRPOConfig(
            output_dir=output, per_device_train_batch_size=PROMPTS * GROUP, num_generations=GROUP, max_completion_length=ANSWER,
            learning_rate=RATE, beta=0.0, loss_type="grpo", max_steps=steps, max_grad_norm=1.0, use_cpu=device == "cpu",
            report_to=[], save_strategy="no", logging_steps=1000, disable_tqdm=True, bf16=False, gradient_checkpointing=False)
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), reward_funcs=reward, args=args,
            processing_class=AutoTokenizer.from_pretrained(folder, padding_side="left"), callbacks=[Clock()],
            train_dataset=Dataset.from_list([{"prompt": p.prompt} for p in problems(256)]),
            peft_config=LoraConfig(r=lora, target_modules="all-linear") if lora else None)
        trainer.train()
    return statistics.median(b - a for a, b in zip(stamps, stamps[1:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="one row of two steps, to see that it runs")
    asked = parser.parse_args()
    steps = 2 if asked.quick else asked.steps
    torch.set_num_threads(1)
    half = {p.prompt for p in problems(256)[::2]}
    cases = [("all weights", 0, set()), ("all weights, half of the groups dead", 0, half), (f"LoRA of rank {LORA}", LORA, set())]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_qwen2(Path(folder))
        for what, lora, dead in cases[:1] if asked.quick else cases:
            ours, parts = our_step(Path(folder), steps, asked.device, lora, dead)
            floor = floor_of(parts.pop("operations"))
            peer = trl_step(Path(folder), steps, asked.device, lora, dead)
            rows.append({"what": f"GRPO step, 1 M parameters, {PROMPTS} x {GROUP} x {ANSWER}: {what}", "unit": "s",
                         "ours": round(ours, 4), "peer": round(peer, 4), "peer_name": "TRL GRPOTrainer",
                         "ratio": round(peer / ours, 2), "dead_groups": "skipped by ours, computed by the peer",
                         "floor": round(floor, 4), "of_the_floor": round(floor / ours, 3),
                         "shares": parts.pop("shares"), "parts": parts})
    keep("rl_step" if asked.device == "cpu" else f"rl_step_{asked.device}", rows, ("torch", "transformers", "trl", "peft"))


if __name__ == "__main__":
    main()
