"""What BCPG-NSA itself ran: stored answers of the start model, many passes over them. Read in a digest of the paper."""

from polarity_lib.config import OfflineConfig
from polarity_lib.experiments import Experiment
from polarity_lib.published import UNVERIFIED, PaperModel, Published, Setting

DIGEST = "digest"

PUBLISHED = (Published(
    name="bcpg_published",
    models=(PaperModel("deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", "MIT", 14.8e9, 7100, 5000),),
    arms={"rft": {}, "dpo": {}, "topr": {}, "grpo_offline": {}, "bcpg": {"tau": 1e-3}},
    settings={
        "rollouts_per_prompt": Setting(32, DIGEST, "in the loss presumably the same: unverified"),
        "temperature": Setting(0.7, DIGEST),
        "answer_tokens": Setting(22000, DIGEST),
        "questions": Setting(2069, DIGEST, "those with uniform verdicts removed; 66,208 answers, 14,896 of them wrong"),
        "learning_rate": Setting(5e-7, DIGEST, "the largest; the least is 2.5e-7"),
        "least_learning_rate": Setting(2.5e-7, DIGEST),
        "epochs": Setting(8, DIGEST),
        "batch": Setting(512, DIGEST, "answers"),
        "sequence_tokens": Setting(32768, DIGEST, "32k"),
        "tau": Setting(1e-3, DIGEST),
        "beta": Setting(0.5, DIGEST),
        "schedule": Setting(None, UNVERIFIED, "its shape"),
        "optimizer": Setting(None, UNVERIFIED, "not in what we read"),
        "warm_up": Setting(None, UNVERIFIED, "not in what we read"),
        "weight_decay": Setting(None, UNVERIFIED, "not in what we read"),
        "grad_clip": Setting(None, UNVERIFIED, "not in what we read"),
        "eval_temperature": Setting(None, UNVERIFIED, "not in what we read"),
        "final_samples": Setting(None, UNVERIFIED, "AIME values fit about 40 per problem"),
        "source": Setting(None, UNVERIFIED, "where the questions come from"),
    },
    # 8 passes over 2,069 groups of 32, 16 groups (512 answers) at a time.
    ours={"steps": 1034, "prompts_per_step": 16, "minibatches": 1, "optimizer": "adamw", "grad_clip": 1.0,
          "eval_temperature": 0.7, "final_samples": 40},
    world="deepscaler",
    data="2,069 questions, source unverified (ours: the DeepScaleR set, MIT as stated by its authors; as many before dead groups "
         "are removed); tested on AIME24, AIME25, MATH500, LiveCodeBench",
    differs="one learning rate; batches of whole groups; BCPG-NSA itself needs steps judged by other models, which real "
            "mathematics has not here: its runs are in the worlds whose checker knows steps (notebook 51)",
    hardware="64 H800 or H100, about 14 hours for BCPG-NSA: some 900 GPU hours",
    offline=OfflineConfig(problems=2069, answers=32),
),)

EXPERIMENTS = {p.name: Experiment(p.configs, 1, "", preview=False) for p in PUBLISHED}
