"""What the paper's own scale would take: an estimate that says it is one."""

import pytest

from polarity_lib.papers.psr_nsr import paper_scale
from polarity_lib.study import plan
from polarity_lib.study.plan import Settings


def test_the_plan_at_paper_scale_says_whose_estimate_it_is():
    text = plan.plan_text(Settings(scale="paper"))
    assert "OUR ESTIMATE" in text
    for model in paper_scale.PAPER_MODELS:
        assert model.name in text and model.licence in text


def test_paper_gpu_hours_by_hand():
    model = paper_scale.PaperModel("m", "", 1e9, 100, 1e4, 10)
    answers = 140 * 1024 * 8
    seconds = answers * 100 * (1 / 1e4 + 8 * 1e9 / (989e12 * 0.35)) + 570 * 10 * 100 / 1e4
    assert paper_scale.paper_gpu_hours(model) == pytest.approx(seconds / 3600)
