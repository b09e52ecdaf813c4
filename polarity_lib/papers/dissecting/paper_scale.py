"""What the paper's released scripts ran, stage by stage. Read in the authors' code; the paper's tables were not accessible."""

from dataclasses import replace

from polarity_lib.experiments import Experiment
from polarity_lib.published import UNVERIFIED, PaperModel, Published, Setting

CODE = "code"
DISTILLED = PaperModel("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "MIT", 1.8e9, 5000, 20000)
SCALED = PaperModel("agentica-org/DeepScaleR-1.5B-Preview", "MIT", 1.8e9, 3000, 20000)
SETTINGS = {
    "answer_tokens": Setting(8192, CODE),
    "prompt_tokens": Setting(1024, CODE),
    "prompts_per_step": Setting(64, CODE),
    "minibatches": Setting(1, CODE, "of 64 prompts"),
    "rollouts_per_prompt": Setting(8, CODE),
    "learning_rate": Setting(1e-6, CODE, "constant"),
    "clip": Setting(0.2, CODE),
    "kl": Setting(0.001, CODE, "in the loss"),
    "kl_in_reward": Setting(0.0, CODE),
    "entropy_bonus": Setting(0.001, CODE),
    "grad_clip": Setting(1.0, CODE),
    "temperature": Setting(0.6, CODE, "in training and evaluation"),
    "eval_temperature": Setting(0.6, CODE),
    "eval_top_p": Setting(0.95, CODE, "robustness test"),
    "final_samples": Setting(64, CODE, "AIME and AMC"),
    "curve_every": Setting(10, CODE),
    "checkpoint_every": Setting(10, CODE),
    "epochs": Setting(30, CODE, "a cap"),
    "repetition_penalty": Setting(0.0, CODE),
    "steps": Setting(None, UNVERIFIED, "and how a checkpoint was chosen; paths in the code name step 560 of the 8k stage"),
}
NO_KL = {"kl": Setting(0.0, CODE), "entropy_bonus": Setting(0.0, CODE),
         "kl_in_reward": Setting(0.001, CODE, "left on in the reward by the script")}
DATA = "the DeepScaleR set (MIT as stated by its authors), about 40,000 problems by a summary; exact count unverified"
STAGE_8K = Published(
    name="dissecting_8k_published",
    models=(DISTILLED,),
    arms={"both_polarities": {}, "negatives": {"method": "nsr_grpo_tok"}, "positives": {"method": "psr_grpo_tok"}},
    settings=SETTINGS,
    ours={"steps": 560},
    world="deepscaler",
    data=DATA,
    differs="no KL, no entropy bonus; the 7B model's scripts and those of zero-RL are not public",
    hardware="one node of 8 GPUs",
)
LONGER = {"positives"}  # only the first stage has a script for them


def stage(tokens: int, before: str) -> Published:
    """A later stage: longer answers, larger groups, from the checkpoint before it."""
    arms = {name: arm for name, arm in STAGE_8K.arms.items() if name not in LONGER}
    return replace(
        STAGE_8K, name=f"dissecting_{tokens // 1024}k_published", arms=arms,
        settings=SETTINGS | {
            "answer_tokens": Setting(tokens, CODE), "rollouts_per_prompt": Setting(16, CODE),
            "init": Setting(f"the {before} checkpoint of the same arm", CODE),
            "steps": Setting(None, UNVERIFIED, "and how a checkpoint was chosen")},
        differs=f"give the {before} stage's checkpoint as the model; no KL, no entropy bonus")


RLR = replace(
    STAGE_8K, name="dissecting_rlr_published", models=(SCALED,), arms={"rlr": {"hidden_kl": 0.001}},
    settings=SETTINGS | NO_KL | {
        "steps": Setting(None, UNVERIFIED, "and how a checkpoint was chosen; paths in the code name step 320")},
    ours={"steps": 320}, differs="")
OSI = replace(
    STAGE_8K, name="dissecting_osi_published", models=(SCALED,), arms={},
    settings=SETTINGS | NO_KL | {
        "answer_tokens": Setting(24576, CODE), "prompts_per_step": Setting(128, CODE),
        "minibatches": Setting(2, CODE, "of 64 prompts"), "rollouts_per_prompt": Setting(16, CODE),
        "clip": Setting(0.35, CODE, "but unused by that loss"), "checkpoint_every": Setting(2, CODE),
        "repetition_penalty": Setting(-2.0, CODE, "the largest, on 40-grams"),
        "steps": Setting(None, UNVERIFIED, "and how a checkpoint was chosen")},
    data="2,560 problems with offline solutions attached (count from a file name)",
    differs="no run, since the file of offline solutions is not public")
PUBLISHED = (STAGE_8K, stage(16384, "8k"), stage(24576, "16k"), RLR, OSI)

EXPERIMENTS = {p.name: Experiment(p.configs, 1, "", preview=False) for p in PUBLISHED if p.arms}
