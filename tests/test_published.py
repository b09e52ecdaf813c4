"""What the papers ran, against the numbers of our reading cards, and as runs of ours."""

import pytest

from polarity_lib.config import ConfigError, scale_named
from polarity_lib.experiments import experiment
from polarity_lib.methods import method_named
from polarity_lib.published import RUN_FIELDS
from polarity_lib.registry import AT_PAPER_SCALE, papers

PUBLISHED = {one.name: one for paper in papers() for one in paper.part("paper_scale", "PUBLISHED", ())}
# Typed from the cards a second time: name, setting, value, mark.
CARDS = """
psr_nsr_published prompts_per_step 1024 both
psr_nsr_published rollouts_per_prompt 8 both
psr_nsr_published minibatches 4 both
psr_nsr_published learning_rate 1e-6 code
psr_nsr_published critic_learning_rate 1e-5 code
psr_nsr_published prompt_tokens 1024 both
psr_nsr_published answer_tokens 3072 both
psr_nsr_published clip 0.2 both
psr_nsr_published grad_clip 1.0 both
psr_nsr_published kl 1e-3 both
psr_nsr_published entropy_bonus None unverified
psr_nsr_published temperature 1.0 both
psr_nsr_published eval_temperature 0.6 both
psr_nsr_published eval_top_p 0.95 both
psr_nsr_published final_samples 256 both
psr_nsr_published epochs 20 code
psr_nsr_published curve_every 7 code
psr_nsr_published steps None unverified
psr_nsr_published positive_weight 0.1 both
psr_nsr_published seeds None unverified
lens_published learning_rate 1e-6 paper
lens_published rollouts_per_prompt 16 paper
lens_published prompts_per_step 128 paper
lens_published minibatches 4 paper
lens_published clip 0.2 paper
lens_published kl 0 paper
lens_published alpha 0.25 paper
lens_published temperature 1.0 paper
lens_published eval_temperature 1.0 paper
lens_published top_p 1.0 paper
lens_published answer_tokens 4096 paper
lens_published final_samples 16 paper
lens_published seeds 2 paper
lens_published optimizer None unverified
lens_published betas None unverified
lens_published weight_decay None unverified
lens_published warm_up None unverified
lens_published grad_clip None unverified
lens_published epsilon None unverified
a3po_published weight 2 digest
a3po_published slope 0.005 digest
a3po_published rollouts_per_prompt 8 code
a3po_published prompts_per_step None unverified
a3po_published answer_tokens None unverified
a3po_published steps None unverified
a3po_published final_samples None unverified
a3po_scripts_published prompts_per_step 32 code
a3po_scripts_published minibatches 4 code
a3po_scripts_published answer_tokens 8192 code
a3po_scripts_published prompt_tokens 1024 code
a3po_scripts_published weight_decay 0.01 code
a3po_scripts_published grad_clip 1.0 code
a3po_scripts_published learning_rate 1e-6 code
a3po_scripts_published warm_up 10 code
a3po_scripts_published clip 0.2 code
a3po_scripts_published kl 0.001 code
a3po_scripts_published entropy_bonus 0 code
a3po_scripts_published eval_temperature 0.6 code
a3po_scripts_published eval_top_p 0.95 code
a3po_scripts_published curve_samples 8 code
a3po_scripts_published curve_every 2 code
a3po_scripts_published epochs 5 code
dissecting_8k_published answer_tokens 8192 code
dissecting_8k_published prompt_tokens 1024 code
dissecting_8k_published prompts_per_step 64 code
dissecting_8k_published minibatches 1 code
dissecting_8k_published rollouts_per_prompt 8 code
dissecting_8k_published learning_rate 1e-6 code
dissecting_8k_published clip 0.2 code
dissecting_8k_published kl 0.001 code
dissecting_8k_published kl_in_reward 0 code
dissecting_8k_published entropy_bonus 0.001 code
dissecting_8k_published grad_clip 1.0 code
dissecting_8k_published temperature 0.6 code
dissecting_8k_published checkpoint_every 10 code
dissecting_8k_published epochs 30 code
dissecting_8k_published steps None unverified
dissecting_16k_published answer_tokens 16384 code
dissecting_16k_published rollouts_per_prompt 16 code
dissecting_24k_published answer_tokens 24576 code
dissecting_24k_published rollouts_per_prompt 16 code
dissecting_rlr_published answer_tokens 8192 code
dissecting_rlr_published rollouts_per_prompt 8 code
dissecting_rlr_published kl 0 code
dissecting_rlr_published kl_in_reward 0.001 code
dissecting_rlr_published entropy_bonus 0 code
dissecting_osi_published answer_tokens 24576 code
dissecting_osi_published prompts_per_step 128 code
dissecting_osi_published minibatches 2 code
dissecting_osi_published rollouts_per_prompt 16 code
dissecting_osi_published clip 0.35 code
dissecting_osi_published repetition_penalty -2 code
dissecting_osi_published checkpoint_every 2 code
bcpg_published rollouts_per_prompt 32 digest
bcpg_published temperature 0.7 digest
bcpg_published answer_tokens 22000 digest
bcpg_published questions 2069 digest
bcpg_published learning_rate 5e-7 digest
bcpg_published least_learning_rate 2.5e-7 digest
bcpg_published epochs 8 digest
bcpg_published batch 512 digest
bcpg_published tau 1e-3 digest
bcpg_published beta 0.5 digest
bcpg_published optimizer None unverified
bcpg_published schedule None unverified
bcpg_published source None unverified
"""


@pytest.mark.parametrize("line", CARDS.split("\n")[1:-1])
def test_numbers_are_the_cards(line):
    name, setting, value, mark = line.split()
    found = PUBLISHED[name].settings[setting]
    assert found.value == (None if value == "None" else float(value)) and found.mark == mark
    assert found.value is not None or found.note  # a hole says what is missing


def test_a_model_may_differ():
    llama, qwen = PUBLISHED["lens_published"].models
    assert PUBLISHED["lens_published"].value("learning_rate", llama) == 3e-7
    assert PUBLISHED["lens_published"].value("learning_rate", qwen) == 1e-6


@pytest.mark.parametrize("name", [name for name, one in PUBLISHED.items() if one.arms])
def test_every_comparison_is_a_run_of_ours(name):
    one = PUBLISHED[name]
    model = one.models[0]
    arms = {arm.name: arm.config for arm in experiment(name, scale=f"paper:{model.name}")}
    assert list(arms) == list(dict.fromkeys(["base", *one.arms])) and arms["base"].steps == 0
    for arm, config in arms.items():
        method_named(config.method, dict(config.options))
        assert config.start.model.name == model.name and config.start.model.answer_tokens == one.value("answer_tokens", model)
        for setting in RUN_FIELDS & one.settings.keys() - {"steps"}:
            assert getattr(config, setting) == one.value(setting, model)
        assert arm == "base" or config.steps == one.value("steps", model)
    assert all(config.hash == one.configs(scale_named(f"paper:{model.name}"), 0)[arm].hash for arm, config in arms.items())


def test_a_stage_without_a_run_says_why_and_sizes_may_be_changed():
    assert "dissecting_osi_published" not in AT_PAPER_SCALE
    with pytest.raises(ConfigError, match="not public"):
        PUBLISHED["dissecting_osi_published"].configs(scale_named("paper:a/b"), 0)
    config = experiment("lens_published", "lens", "paper:a/b,steps=3,engine=vllm,lora_rank=8,dtype=bfloat16")[0].config
    assert (config.steps, config.start.model.engine, config.start.model.lora_rank) == (3, "vllm", 8)
    assert dict(config.options) == {"alpha": 0.25}
