"""The paper's comparison with language models: on one GPU with a small model, and as the paper ran it.

Marks of `PUBLISHED`: notes (on the paper), code (the authors'), or both.
"""

from polarity_lib.claims import tail
from polarity_lib.config import ModelConfig, RunConfig, Scale, StartConfig, at_paper_scale
from polarity_lib.experiments import Experiment
from polarity_lib.papers.psr_nsr import experiments
from polarity_lib.published import INSTRUCTION, UNVERIFIED, PaperModel, Published, Setting

# The paper's: group of 8, four updates per batch, temperatures, top-p, clips. Ours, so that 0.5 to 1.5 B parameters fit 24 GB:
# an adapter at ten times the rate, 64 prompts in a batch instead of 1,024, answers of 1,024 tokens instead of 3,072.
ONE_GPU = dict(learning_rate=1e-5, steps=100, prompts_per_step=64, rollouts_per_prompt=8, minibatches=4, pool_size=0,
               eval_temperature=0.6, eval_top_p=0.95, curve_every=20, curve_problems=100, curve_samples=4,
               checkpoint_every=5, final_problems=500, final_samples=16)
SERVED = dict(lora_rank=16, dtype="bfloat16", checkpointing=True, chat=True, instruction=INSTRUCTION, answer_tokens=1024,
              rows=128, tokens_per_pass=8192)
ARMS = ("base", "grpo", "psr", "nsr")
FAR = {"math": tail(16)}  # where the tail is read


def one_gpu(scale: Scale, seed: int, world: str = "math", served: dict | None = None, **fields) -> dict[str, RunConfig]:
    """Base, GRPO, PSR and NSR from one model.

    Args:
        served, fields: what differs from `SERVED` and `ONE_GPU`; what the person changed counts above both.
    """
    served = SERVED | (served or {}) | scale.changes_of(ModelConfig)
    fields = ONE_GPU | {"world": world} | fields | scale.changes_of(RunConfig)
    start = StartConfig("", "", 0, seed, model=ModelConfig(scale.model, **served))
    arms = {method: RunConfig(method=method, start=start, seed=seed, **fields) for method in ARMS}
    return arms | {"base": arms["base"].but(steps=0)}


def methods_at(scale: str) -> dict[str, tuple[str, ...]]:
    """What notebook 10 compares in which world: the tiny ones, or real mathematics at scale paper."""
    return {"math": ARMS[1:]} if at_paper_scale(scale) else experiments.METHODS


MATH_TRAIN = "MATH train, 7,500 problems (MIT, disputed: see data/problems_manifest.json)"

PUBLISHED = (Published(
    name="psr_nsr_published",
    models=(
        PaperModel("Qwen/Qwen2.5-Math-7B", "Apache-2.0", 7.6e9, 700, 9000),
        PaperModel("Qwen/Qwen3-4B", "Apache-2.0", 4.0e9, 1200, 12000, settings={
            "answer_tokens": Setting(31744, "both"), "final_samples": Setting(64, "both"),
            "eval_temperature": Setting(None, UNVERIFIED, "of Qwen3-4B"),
            "eval_top_p": Setting(None, UNVERIFIED, "of Qwen3-4B")}),
        PaperModel("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 Community License", 8.0e9, 600, 8500),
    ),
    arms={"ppo": {}, "grpo": {}, "reinforce": {}, "psr": {}, "nsr": {}, "w_reinforce": {"positive_weight": 0.1}},
    settings={
        "prompts_per_step": Setting(1024, "both"),
        "rollouts_per_prompt": Setting(8, "both"),
        "minibatches": Setting(4, "both", "256 prompts each, one epoch"),
        "learning_rate": Setting(1e-6, "code", "constant, no warm-up"),
        "critic_learning_rate": Setting(1e-5, "code", "PPO"),
        "prompt_tokens": Setting(1024, "both"),
        "answer_tokens": Setting(3072, "both"),
        "clip": Setting(0.2, "both"),
        "grad_clip": Setting(1.0, "both"),
        "kl": Setting(1e-3, "both", "PPO in the reward, GRPO in the loss (k3); PSR, NSR, W-REINFORCE: 0"),
        "entropy_bonus": Setting(None, UNVERIFIED, "notes on the paper: 1e-4 (App. D), the released default: 1e-3; a conflict"),
        "temperature": Setting(1.0, "both"),
        "top_p": Setting(1.0, "both"),
        "final_samples": Setting(256, "both"),
        "eval_temperature": Setting(0.6, "both"),
        "eval_top_p": Setting(0.95, "both"),
        "epochs": Setting(20, "code", "of the launch scripts"),
        "curve_every": Setting(7, "code", "an epoch"),
        "checkpoint_every": Setting(7, "code"),
        "steps": Setting(None, UNVERIFIED, "the reported number, and the choice of checkpoint; 20 epochs are 140"),
        "positive_weight": Setting(0.1, "both", "lambda of W-REINFORCE"),
        "seeds": Setting(None, UNVERIFIED, "none stated"),
    },
    ours={"steps": 140, "eval_temperature": 0.6, "eval_top_p": 0.95},
    world="math",
    data=MATH_TRAIN + "; tested on MATH test, AIME 2025, AMC23 (ours: MATH-500 for MATH test)",
    differs="no KL and no entropy bonus; AdamW without weight decay",
    hardware="one node of 8 GPUs, H200 by notes on the paper",
),)

EXPERIMENTS = {"psr_nsr_math": Experiment(one_gpu, 3, "10"),
               **{p.name: Experiment(p.configs, 1, "", preview=False) for p in PUBLISHED}}
