"""Which method runs where, from the records."""

import pytest
import torch

from polarity_lib.config import ConfigError
from polarity_lib.integrations.shared import Absent, as_rollouts, borrowed, reads
from polarity_lib.integrations.table import methods_page, methods_where, runs
from polarity_lib.methods import Progress, method_named
from polarity_lib.registry import METHODS, papers
from polarity_lib.study.pages import pages

TABLE = methods_where().set_index("method")


def test_every_method_has_a_row():
    assert list(TABLE.index) == list(METHODS)


@pytest.mark.parametrize("name", ["grpo", "psr", "nsr", "w_reinforce", "psr_grpo_tok", "nsr_grpo_seq", "token_shaped", "a3po",
                                  "lens", "uniform_penalty", "dr_grpo", "gspo", "cispo", "rloo"])
def test_what_the_papers_train_with_runs_everywhere(name):
    for engine in ("trl", "verl"):
        assert not TABLE.loc[name, engine].startswith("no:") and runs(name, engine)


FIVE = ("psr_nsr", "dissecting", "a3po", "lens", "bcpg_nsa")
# What the five papers' folders hold and other trainers cannot do: answers from elsewhere, stored answers, steps of a chain, and
# two comparisons from other papers that sample continuations or keep hidden states; in verl alone, schedules.
ELSEWHERE = {"osi", "imitation", "bcpg", "bcpg_nsa", "dpo", "topr", "grpo_offline", "step_values", "nthr",
             "first_error", "from_first_error", "prefix_only", "sparing"}
SCHEDULES = {"neg_to_pos", "pos_to_neg", "rlr_after"}


def test_every_on_policy_method_of_the_five_papers_runs_in_all_three():
    mine = [name for paper in papers() if paper.name in FIVE for name in paper.part("methods", "METHODS", {})]
    refused = {name for name in mine if "no:" in TABLE.loc[name, "trl"] + TABLE.loc[name, "verl"]}
    assert len(mine) > 25 and refused == ELSEWHERE | SCHEDULES and (TABLE.loc[mine, "ours"] == "").all()


@pytest.mark.parametrize(("name", "trl", "verl"), [
    ("ppo", "needs a critic", "needs a critic"),
    ("dapo", "with dynamic=False", "with dynamic=False"),
    ("dapo_fork", "micro-batch", "its loss reads entropies"),
    ("lp_reg", "whole distributions", "whole distributions"),
    ("rl_zvp", "", "its advantage reads entropies"),
    ("nsr", "", "counted over the batch of rollouts"),
    ("rlr_after", "", "another method during the run"),
    ("first_error", "step by step", "step by step"),
    ("grpo", "", ""),
])
def test_the_reason_is_said(name, trl, verl):
    assert trl in TABLE.loc[name, "trl"] and verl in TABLE.loc[name, "verl"]
    assert (TABLE.loc[name, "trl"] == "") == (trl == "") and (TABLE.loc[name, "verl"] == "") == (verl == "")


def test_the_reference_is_verls_own_there():
    assert runs("grpo", "trl", {"kl": 0.1}) and not runs("grpo", "verl", {"kl": 0.1})


def test_an_option_may_read_entropies():
    assert not reads(method_named("a3po"), "entropies_NT")
    assert reads(method_named("a3po", {"selection": "entropy"}), "entropies_NT")


def test_a_record_from_plain_tensors():
    rollouts = as_rollouts(torch.tensor([True, False]), torch.tensor([7, 3]), torch.tensor([[1, 1], [1, 0]]),
                           torch.tensor([[-0.5, 1e-6], [-1.0, float("nan")]]), None, 5, ["a", "b"])
    assert rollouts.group_N.tolist() == [0, 1] and rollouts.correct_N.tolist() == [True, False]
    assert rollouts.logprobs_NT.tolist() == [[-0.5, 0.0], [-1.0, 0.0]]  # rounding above zero, and padding, are gone
    assert all(isinstance(x, Absent) for x in (rollouts.entropies_NT, rollouts.texts, rollouts.finished_N)) and len(rollouts) == 2
    with pytest.raises(ConfigError, match="reads the ends of answers"):
        method_named("grpo_cut").advantage(rollouts, torch.tensor([1.0, 0.0]), Progress(0, 1))
    for use in (lambda x: x * 2, lambda x: x.sum(), lambda x: torch.exp(x), lambda x: x[0], lambda x: 1 - x):
        with pytest.raises(ConfigError, match="token entropies, which are not there"):
            use(rollouts.entropies_NT)
    with pytest.raises(ConfigError, match="reads the token entropies"):
        method_named("rl_zvp").advantage(rollouts, torch.tensor([1.0, 0.0]), Progress(0, 1))


def test_a_method_that_cannot_be_borrowed_says_what_would_help():
    with pytest.raises(ConfigError, match="dynamic=False leaves that part out"):
        borrowed("dapo")
    assert borrowed("dapo", {"dynamic": False}).name == "dapo"


def test_the_page_is_the_table():
    """That the committed page is up to date is the business of `pages`, and of its test."""
    text = methods_page()
    assert text.count("\n| `") == len(METHODS)
    assert "| `grpo` | " in text and text.split("| `ppo` | ")[1].split("\n")[0].endswith(
        "| yes | no: it needs a critic, which is trained beside the policy in our own loop only"
        " | no: it needs a critic, which is trained beside the policy in our own loop only |")
    assert "methods_where.md" in {path.name for path in pages()}
