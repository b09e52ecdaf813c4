"""What the papers' own scale would take: an estimate that says it is one."""

import pytest

from polarity_lib.config import OfflineConfig
from polarity_lib.papers.psr_nsr.paper_scale import PUBLISHED
from polarity_lib.published import PaperModel, Published, Setting
from polarity_lib.registry import papers
from polarity_lib.study import plan
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
