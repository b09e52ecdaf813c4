"""What A3PO itself ran: the main comparison as far as it is known, and the released scripts of the polarity analysis.

Marks: readme and code of the authors, digest (a summary by others).
"""

from polarity_lib.experiments import Experiment
from polarity_lib.published import UNVERIFIED, PaperModel, Published, Setting

DATA = "DAPO-Math-17k (Apache-2.0 as stated by its authors); validated on AIME 2024 and 2025"
OF_MAIN = "of the main A3PO runs"
SHARED = {
    "rollouts_per_prompt": Setting(8, "code"),
    "clip": Setting(0.2, "code", "both sides; dual clip 3.0; framework defaults"),
    "grad_clip": Setting(1.0, "code"),
    "optimizer": Setting("adamw", "code"),
    "betas": Setting((0.9, 0.95), "code"),
    "weight_decay": Setting(0.01, "code"),
    "learning_rate": Setting(1e-6, "code", "released scripts; removed exploratory ones: 5e-5 with 10 warm-up steps"),
    "kl": Setting(0.001, "code", "in the loss, k3; off in exploratory scripts"),
    "entropy_bonus": Setting(0.0, "code"),
    "temperature": Setting(1.0, "code"),
    "top_p": Setting(1.0, "code"),
    "eval_temperature": Setting(0.6, "code", "validation"),
    "eval_top_p": Setting(0.95, "code", "validation"),
    "curve_samples": Setting(8, "code", "validation"),
    "curve_every": Setting(2, "code", "validation"),
    "prompt_tokens": Setting(1024, "code"),
    "epochs": Setting(5, "code", "released scripts; exploratory 15"),
}
OURS = {"steps": 2500, "final_samples": 16, "curve_problems": 60}  # 5 epochs of 16,000 problems by 32
MAIN = Published(
    name="a3po_published",
    models=(
        PaperModel("Qwen/Qwen2.5-Math-7B", "Apache-2.0", 7.6e9, 900, 9000),
        PaperModel("Qwen/Qwen3-8B-Base", "Apache-2.0", 8.2e9, 2000, 8500),
        PaperModel("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "MIT", 7.6e9, 5000, 9000),
    ),
    arms={"grpo": {}, "dapo": {}, "a3po": {"weight": 2.0, "slope": 0.005, "fraction": 0.2}},
    settings=SHARED | {
        "weight": Setting(2.0, "digest", "rho"),
        "slope": Setting(0.005, "digest", "alpha, per step"),
        "fraction": Setting(0.2, "code, digest"),
        "prompts_per_step": Setting(None, UNVERIFIED, f"{OF_MAIN}; released scripts have 32 and 512"),
        "minibatches": Setting(None, UNVERIFIED, f"{OF_MAIN}; released scripts have 4 and 16"),
        "answer_tokens": Setting(None, UNVERIFIED, f"{OF_MAIN}; released scripts have 8192 and 16384"),
        "steps": Setting(None, UNVERIFIED, OF_MAIN),
        "final_samples": Setting(None, UNVERIFIED, "samples per problem of the main table"),
    },
    ours=OURS | {"prompts_per_step": 32, "minibatches": 4, "answer_tokens": 8192},
    world="dapo_math",
    data=f"{DATA}; tested on AIME24, AIME25, MATH500, GPQA, LiveCodeBench (ours: the first three)",
    differs="no KL term, no weight decay, betas (0.9, 0.999); the schedule and a launch script of A3PO are not in the release",
)
SCRIPTS = Published(
    name="a3po_scripts_published",
    models=(PaperModel("Qwen/Qwen3-4B-Base", "Apache-2.0", 4.0e9, 2000, 12000),),
    arms={"grpo": {"method": "grpo"}, "psr": {"method": "psr_grpo_seq"}, "nsr": {"method": "nsr_grpo_seq"}},
    settings=SHARED | {
        "prompts_per_step": Setting(32, "code", "PSR, GRPO, token shaping; NSR: 512"),
        "minibatches": Setting(4, "code", "8 prompts each (PSR, GRPO); NSR: 16, of 32 prompts"),
        "answer_tokens": Setting(8192, "code", "PSR, GRPO; NSR: 16384"),
        "warm_up": Setting(10, "code", "steps, PSR; NSR and GRPO: none"),
        "fraction": Setting(0.2, "code", "token shaping"),
        "steps": Setting(None, UNVERIFIED, "only epochs are in the scripts"),
        "final_samples": Setting(None, UNVERIFIED, "samples per problem of the main table"),
    },
    ours=OURS,
    world="dapo_math",
    data=DATA,
    differs="batch and length are the PSR script's for every arm, since the released ones are confounded; no KL term, no warm-up",
)
PUBLISHED = (MAIN, SCRIPTS)

EXPERIMENTS = {p.name: Experiment(p.configs, 1, "", preview=False) for p in PUBLISHED}
