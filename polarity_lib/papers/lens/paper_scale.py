"""What LENS itself ran. Read in the paper, except where a mark says otherwise."""

from polarity_lib.experiments import Experiment
from polarity_lib.published import UNVERIFIED, PaperModel, Published, Setting

SILENT = "not reported"

PUBLISHED = (Published(
    name="lens_published",
    models=(
        PaperModel("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 Community License", 8.0e9, 600, 8500,
                   settings={"learning_rate": Setting(3e-7)}),
        PaperModel("Qwen/Qwen2.5-3B", "Qwen Research License", 3.1e9, 600, 14000),
    ),
    arms={"grpo": {}, "lens": {"alpha": 0.25}},
    settings={
        "learning_rate": Setting(1e-6, note="Qwen; Llama 3e-7"),
        "rollouts_per_prompt": Setting(16),
        "prompts_per_step": Setting(128, note="batch of 128 = 4 x 32: questions rolled out, in our reading"),
        "minibatches": Setting(4, note="at most 4 updates per rollout, each of 512 trajectories (32 x 16)"),
        "clip": Setting(0.2),
        "kl": Setting(0.0),
        "alpha": Setting(0.25, note="for every model and data set"),
        "temperature": Setting(1.0),
        "top_p": Setting(1.0),
        "eval_temperature": Setting(1.0),
        "eval_top_p": Setting(1.0),
        "answer_tokens": Setting(4096),
        "steps": Setting(None, UNVERIFIED, "curves run to about 1,600 (data A), 1,400 (B); a batch or an update each"),
        "final_samples": Setting(16),
        "seeds": Setting(2, note="data A; one run of data B"),
        "optimizer": Setting(None, UNVERIFIED, SILENT),
        "betas": Setting(None, UNVERIFIED, SILENT),
        "weight_decay": Setting(None, UNVERIFIED, SILENT),
        "warm_up": Setting(None, UNVERIFIED, SILENT),
        "grad_clip": Setting(None, UNVERIFIED, SILENT),
        "epsilon": Setting(None, UNVERIFIED, "of the standard deviation: not reported"),
    },
    ours={"steps": 400, "optimizer": "adamw", "grad_clip": 1.0, "epsilon": 1e-6},
    world="math_dapo",
    data="A: MATH train, 7,500, and 17,500 drawn from the DAPO set (MIT, disputed; Apache-2.0); B: MATH train and part of "
         "Numina 1.5, how much is not given. Tested on MATH-500",
    differs="data A with the whole DAPO set; 400 batches are 1,600 updates",
    hardware="not reported",
),)

EXPERIMENTS = {p.name: Experiment(p.configs, 2, "", preview=False) for p in PUBLISHED}
