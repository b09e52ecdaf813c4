"""What the paper's main comparison would take: GPU hours, disk, licences. The estimates are ours, not the paper's."""

from dataclasses import dataclass

from polarity_lib.config import SCALES
from polarity_lib.papers.psr_nsr.experiments import METHODS


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
              "This release trains the papers' models through plug-ins only; the plan says what it would take."]
    return "\n".join(lines)
