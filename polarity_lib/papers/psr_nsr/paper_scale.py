"""The paper's comparison with language models: on one GPU with a small model, and what the paper's own would take.

Hours, disk and licences of the paper's models are estimates of ours, not the paper's.
"""

from dataclasses import dataclass

from polarity_lib.config import SCALES, ModelConfig, RunConfig, Scale, StartConfig
from polarity_lib.experiments import Experiment
from polarity_lib.papers.psr_nsr.experiments import METHODS

INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
# The paper's: group of 8, four updates per batch, temperatures, top-p, clips. Ours, so that 0.5 to 1.5 B parameters fit 24 GB:
# an adapter at ten times the rate, 64 prompts in a batch instead of 1,024, answers of 1,024 tokens instead of 3,072.
ONE_GPU = dict(learning_rate=1e-5, steps=100, prompts_per_step=64, rollouts_per_prompt=8, minibatches=4, pool_size=0,
               eval_temperature=0.6, eval_top_p=0.95, curve_every=20, curve_problems=100, curve_samples=4,
               checkpoint_every=5, final_problems=500, final_samples=16)
SERVED = dict(lora_rank=16, dtype="bfloat16", checkpointing=True, chat=True, instruction=INSTRUCTION, answer_tokens=1024,
              rows=128, tokens_per_pass=8192)
ARMS = ("base", "grpo", "psr", "nsr")


def one_gpu(scale: Scale, seed: int, world: str = "math", served: dict | None = None, **fields) -> dict[str, RunConfig]:
    """Base, GRPO, PSR and NSR from one model.

    Args:
        served, fields: what differs from `SERVED` and `ONE_GPU`.
    """
    start = StartConfig("", "", 0, seed, model=ModelConfig(scale.model, **(SERVED | (served or {}))))
    arms = {method: RunConfig(method=method, world=world, start=start, seed=seed, **(ONE_GPU | fields)) for method in ARMS}
    return arms | {"base": arms["base"].but(steps=0)}


EXPERIMENTS = {"psr_nsr_math": Experiment(one_gpu, 3, "10")}


@dataclass(frozen=True)
class PaperModel:
    """A model the paper trains, and what we assume about it to estimate GPU hours."""

    name: str
    licence: str
    parameters: float
    answer_tokens: int  # assumed mean length of an answer
    tokens_per_second: float  # assumed sampling rate of one H200 in full batches
    final_samples: int


PAPER_MODELS = (
    PaperModel("Qwen2.5-Math-7B", "Apache-2.0", 7.6e9, 700, 9000, 256),
    PaperModel("Qwen3-4B", "Apache-2.0", 4.0e9, 1200, 12000, 64),
    PaperModel("Llama-3.1-8B-Instruct", "Llama 3.1 Community License", 8.0e9, 600, 8500, 256),
)
TEST_PROBLEMS = 500 + 30 + 40  # MATH-500 in place of the MATH test set, AIME 2025, AMC23
FLOPS = 989e12 * 0.35  # bf16 peak of an H200 times an assumed utilisation


def paper_gpu_hours(model: PaperModel) -> float:
    """GPU hours of one run at the paper's batch and schedule, by the formula that `plan_text` prints."""
    sizes = SCALES["paper"].run
    answers = sizes["steps"] * sizes["prompts_per_step"] * sizes["rollouts_per_prompt"]
    train = answers * model.answer_tokens * (1 / model.tokens_per_second + 8 * model.parameters / FLOPS)
    test = TEST_PROBLEMS * model.final_samples * model.answer_tokens / model.tokens_per_second
    return (train + test) / 3600


def plan_text() -> str:
    """Runs, GPU hours, disk and licences of the paper's main comparison, one seed."""
    methods = METHODS["search"]
    lines = [f"{'model':<24}{'licence':<30}{'runs':>5}{'GPU hours':>11}{'disk, GB':>10}"]
    total_runs = total_hours = total_disk = 0.0
    for model in PAPER_MODELS:
        hours = len(methods) * paper_gpu_hours(model)
        disk = (len(methods) + 1) * 2 * model.parameters / 1e9
        total_runs, total_hours, total_disk = total_runs + len(methods), total_hours + hours, total_disk + disk
        lines.append(f"{model.name:<24}{model.licence:<30}{len(methods):>5}{hours:>11.0f}{disk:>10.0f}")
    lines.append(f"{'together':<54}{total_runs:>5.0f}{total_hours:>11.0f}{total_disk:>10.0f}")
    lines += [
        f"\nMethods: {', '.join(methods)}; one seed each. Data: MATH train, 7,500 problems (MIT).",
        "The GPU hours are OUR ESTIMATE, not the paper's. Per run:",
        "  hours = [steps * prompts * group * tokens * (1 / rate + 8 * parameters / flops)",
        "           + test problems * samples * tokens / rate] / 3600",
        f"  steps 140, prompts 1024, group 8, test problems {TEST_PROBLEMS};",
        f"  flops {FLOPS:.2g}/s: an H200 at 35 % of its peak, assumed;",
        "  8 = forward and backward (6) plus one more forward for the old log-probabilities (2).",
    ]
    lines += [f"  assumed for {m.name}: {m.answer_tokens} tokens per answer, rate {m.tokens_per_second:.0f} tokens/s; "
              f"{m.final_samples} samples per test problem" for m in PAPER_MODELS]
    lines += ["Disk: bf16 weights of the base and of every run's last checkpoint (2 bytes per parameter).",
              "With a small model on one GPU: python -m polarity_lib run psr_nsr_math --scale paper:MODEL",
              "(MODEL is a hub id or folder). Models beyond one GPU: our methods in TRL or verl (docs/trainers.md)."]
    return "\n".join(lines)
