"""What the papers' own scale would take: an estimate that says it is one."""

import pytest
from transformers import Qwen2Config

from polarity_lib.config import ConfigError, OfflineConfig, scale_named
from polarity_lib.models import memory_needed
from polarity_lib.papers.psr_nsr.paper_scale import PUBLISHED, one_gpu
from polarity_lib.published import PaperModel, Published, Setting
from polarity_lib.registry import papers
from polarity_lib.study import costs, plan
from polarity_lib.study.plan import Settings


def test_the_plan_at_paper_scale_says_whose_estimate_it_is():
    text = plan.plan_text(Settings(scale="paper"))
    assert "OUR ESTIMATE" in text and "memory, GB" in text and "disk, GB" in text
    found = [one for paper in papers() for one in paper.part("paper_scale", "PUBLISHED", ())]
    assert len({one.name for one in found}) == len(found) == 10
    for one in found:
        assert one.name in text and one.data in text
        for model in one.models:
            assert model.name in text and model.licence in text


def test_gpu_hours_by_hand():
    model = PaperModel("m", "", 1e9, 100, 1e4)
    sizes = {"steps": 140, "prompts_per_step": 1024, "rollouts_per_prompt": 8, "final_samples": 10}
    settings = {name: Setting(value) for name, value in sizes.items()}
    published = Published("p", (model,), {"grpo": {}}, settings, "math", "")
    answers = 140 * 1024 * 8
    seconds = answers * 100 * (1 / 1e4 + 8 * 1e9 / (989e12 * 0.35)) + 570 * 10 * 100 / 1e4
    assert published.gpu_hours(model) == pytest.approx(seconds / 3600)
    offline = Published("p", (model,), {"grpo": {}}, settings, "math", "", offline=OfflineConfig(10, 8))
    drawn_once = seconds - (answers - 80) * 100 / 1e4
    assert offline.gpu_hours(model) == pytest.approx(drawn_once / 3600)


def test_a_model_of_the_papers_has_its_own_settings_and_an_unknown_one_ours():
    published, (first, second, _) = PUBLISHED[0], PUBLISHED[0].models
    assert (published.value("answer_tokens", first), published.value("answer_tokens", second)) == (3072, 31744)
    assert published.value("eval_temperature", second) == 0.6  # unverified there: ours
    assert published.model_named("/models/Qwen3-4B/") is second and published.model_named("Qwen/Qwen3-0.6B") is None
    assert set(published.unknown()) == {"entropy_bonus", "steps", "seeds"} and "ours: 140" in published.unknown()["steps"]


def test_what_is_not_known_needs_a_note():
    with pytest.raises(ValueError, match="note"):
        Setting(None)


@pytest.fixture
def shape(tmp_path):
    """The configuration of a model of 1.5 billion parameters, without its weights."""
    Qwen2Config(vocab_size=151936, hidden_size=1536, num_hidden_layers=28, intermediate_size=8960, num_key_value_heads=2,
                num_attention_heads=12, tie_word_embeddings=True).save_pretrained(tmp_path)
    return str(tmp_path)


def test_committed_sizes_fit_one_gpu_of_24_gigabytes(shape):
    config = one_gpu(scale_named(f"paper:{shape}"), 0)["nsr"]
    needed = memory_needed(config.start.model)
    assert 1.5e9 < needed.parameters < 1.6e9 and needed.total < 0.8 * 24e9


def test_the_plan_of_a_model(shape):
    text = plan.plan_text(Settings(f"paper:{shape}"), cores=8)
    assert "4 runs, 4 of them still to compute" in text and "hours on one GPU" in text and "OUR ESTIMATE" in text
    assert "1.5 billion parameters, sampled by torch. One run at a time." in text and "Memory about 9.0 GB" in text
    hours = {engine: costs.model_seconds(one_gpu(scale_named(f"paper:{shape},engine={engine}"), 0)["nsr"]) / 3600
             for engine in ("torch", "vllm")}
    assert 1 < hours["vllm"] < 2.5 < hours["torch"] < 4.5  # as the README says
    with pytest.raises(ConfigError, match="ONLY=10"):
        Settings(f"paper:{shape}", only="20")


@pytest.mark.parametrize("scale, hint", [
    ("paper:a/b,stepps=3", "Did you mean 'steps'"), ("paper:a/b,steps=many", "steps wants int, not 'many'"),
    ("paper:a/b,seed=3", "Unknown field 'seed'"), ("tiny:a/b", "makes its own policies"),
])
def test_what_stands_behind_a_model_is_checked(scale, hint):
    with pytest.raises(ConfigError, match=hint):
        scale_named(scale)


def test_changes_have_the_types_of_their_fields():
    scale = scale_named("paper:/models/a,7b,engine=vllm,steps=3,chat=False,learning_rate=1e-6")
    assert scale.model == "/models/a,7b"
    assert scale.changes == {"engine": "vllm", "steps": 3, "chat": False, "learning_rate": 1e-6}
