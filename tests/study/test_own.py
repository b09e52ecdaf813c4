"""Your own rollouts: logs as others write them, and numbers a reader can redo with a pencil."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from polarity_lib.__main__ import main
from polarity_lib.config import ConfigError
from polarity_lib.methods import method_named
from polarity_lib.mechanism import token_weights
from polarity_lib.policy import token_logprobs
from polarity_lib.registry import METHODS
from polarity_lib.study import own
from polarity_lib.layout import pack_rows

DATA = os.environ.get("POLARITY_TEST_DATA", "")

# Two prompts: one right and one wrong answer; two wrong ones, a dead group. Rows of the groups are mixed up.
TABLE = pd.DataFrame({
    "prompt": ["a", "b", "a", "b"], "response": ["x y", "u", "x z w", "v v"], "reward": [1.0, 0.0, 0.0, 0.0],
    "logprobs": [[-0.1, -0.2], [-0.5], [-0.3, -0.3, -0.3], [-1.0, -1.0]]})


def batch_of(table=TABLE, mapping="", **options):
    return own.to_batches(table, own.find_columns(table, mapping), **options)[-1]


# ---------------------------------------------------------------- by hand


def test_a_table_becomes_rollouts():
    batch = batch_of()
    rollouts = batch.rollouts
    assert rollouts.group_N.tolist() == [0, 0, 1, 1] and rollouts.correct_N.tolist() == [True, False, False, False]
    assert batch.pieces == [["x", " y"], ["x", " z", " w"], ["u"], ["v", " v"]]  # groups together, texts in words
    assert rollouts.mask_NT.sum(1).tolist() == [2, 3, 1, 2]
    assert rollouts.logprobs_NT[1].tolist() == pytest.approx([-0.3, -0.3, -0.3])
    told = own.describe(batch)
    assert told["groups"] == 2 and told["groups all wrong"] == 0.5 and told["right"] == 0.25
    assert told["length right"] == 2 and told["length wrong"] == 2 and told["length in"] == "tokens"


def test_effects_by_hand():
    table = own.effects(batch_of(), "grpo,nsr,psr,reinforce,lens")
    # GRPO: only the first group; advantages +-1/sqrt(2), a mean over each answer's tokens, so right and wrong weigh alike.
    assert table.loc["grpo", "rows used"] == 0.5 and table.loc["grpo", "right share"] == pytest.approx(0.5)
    assert table.loc["grpo", "all-wrong share"] == 0 and table.loc["grpo", "net"] == pytest.approx(0)
    # NSR: three wrong answers of 3, 1 and 2 tokens, all tokens alike; half of them in the dead group.
    assert table.loc["nsr", "rows used"] == 0.75 and table.loc["nsr", "right share"] == 0
    assert table.loc["nsr", "all-wrong share"] == pytest.approx(3 / 6) and table.loc["nsr", "net"] == -1
    assert table.loc["psr", "net"] == 1 and table.loc["psr", "rows used"] == 0.25
    assert table.loc["reinforce", "right share"] == pytest.approx(2 / 8)
    assert table.loc["reinforce", "short"] == pytest.approx(5 / 8)  # answers of 1, 2 and 2 tokens
    assert table.loc["lens", "all-wrong share"] > 0  # it teaches dead groups


def test_the_heaviest_tokens():
    mask = torch.ones(1, 20)
    assert own.top_share(torch.ones(1, 20), mask) == pytest.approx(0.1)
    weights = torch.tensor([[9.0, *[1.0] * 9]])
    assert own.top_share(weights, torch.ones(1, 10)) == pytest.approx(0.5)
    assert own.top_share(weights, torch.ones(1, 10), 0.15) == pytest.approx((9 + 0.5) / 18)


def test_cosines_by_hand():
    cosines = own.agreement(batch_of(), "psr,nsr,reinforce,base")
    assert list(cosines) == ["psr", "nsr", "reinforce"]  # the base does nothing
    assert np.allclose(np.diag(cosines), 1)
    assert cosines.loc["psr", "nsr"] == 0  # they touch different rows
    # REINFORCE is both with all weights alike: two tokens of eight up, six down.
    assert cosines.loc["psr", "reinforce"] == pytest.approx((2 / 8) ** 0.5)
    assert cosines.loc["nsr", "reinforce"] == pytest.approx((6 / 8) ** 0.5)
    assert own.pairs(cosines).index.tolist() == ["psr and nsr", "psr and reinforce", "nsr and reinforce"]


def test_every_method_has_its_row():
    table = own.effects(batch_of())
    assert set(table.index) == set(METHODS) - {"base"}
    assert "needs values" in table.loc["ppo", "note"] and "needs reference" not in table.loc["grpo", "note"]
    assert "token entropies, which are not there" in table.loc["rl_zvp", "note"]
    shown = table[table.note == ""]
    assert {"grpo", "psr", "nsr", "a3po", "lens", "dapo", "gspo", "cispo"} <= set(shown.index)
    assert shown.drop(columns="note").notna().all(axis=None)
    with_entropies = TABLE.assign(entropies=TABLE.logprobs.map(lambda row: [0.5] * len(row)))
    assert own.effects(batch_of(with_entropies), "rl_zvp").note.tolist() == [""]


def test_without_log_probabilities_most_methods_still_show():
    batch = batch_of(TABLE.drop(columns="logprobs"))
    assert batch.by_words
    table = own.effects(batch, "grpo,nsr,a3po,lens,gspo")
    assert table.loc["grpo", "right share"] == pytest.approx(0.5) and table.loc["gspo", "note"] == ""
    assert all("token log-probabilities, which are not there" in table.loc[name, "note"] for name in ("a3po", "lens"))


# ---------------------------------------------------------------- as they come


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "json"])
def test_every_format_reads_the_same(ending, tmp_path):
    path = tmp_path / f"table.{ending}"
    write = {"parquet": lambda t: t.to_parquet(path), "csv": lambda t: t.to_csv(path, index=False),
             "jsonl": lambda t: t.to_json(path, orient="records", lines=True),
             "json": lambda t: t.to_json(path, orient="records")}
    write[ending](TABLE)
    table = own.read_table(path)
    pd.testing.assert_frame_equal(own.effects(batch_of(table), "grpo,lens"), own.effects(batch_of(), "grpo,lens"))


def test_verls_log_as_it_comes(tmp_path):
    """One JSON-lines file per step, with input, output, gts, score, step and what the reward function added."""
    for step in (2, 10):
        rows = [{"input": p, "output": r, "gts": "7", "score": s, "acc": s, "step": step}
                for p, r, s in zip(TABLE.prompt, TABLE.response, TABLE.reward)]
        (tmp_path / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = own.read_table(tmp_path)
    columns = own.find_columns(table)
    assert columns == own.Columns(prompt="input", response="output", reward="score", gold="gts", step="step")
    batches = own.to_batches(table, columns)
    assert [b.step for b in batches] == [2, 10]  # by number, not by letters
    assert own.effects(batches[1], "grpo").loc["grpo", "rows used"] == 0.5


@pytest.mark.peers
def test_trls_log_as_its_trainer_writes_it(tmp_path):
    pytest.importorskip("trl")
    helpers = pytest.importorskip("trl_helpers")
    trainer = helpers.trainer_in(tmp_path, "nsr", max_steps=2, logging_strategy="steps", logging_steps=1, log_completions=True)
    trainer.train()
    table = own.read_table(tmp_path / "completions")
    columns = own.find_columns(table)
    assert (columns.prompt, columns.response, columns.reward, columns.step) == ("prompt", "completion", "luck", "step")
    batch = own.to_batches(table, columns)[0]
    assert torch.bincount(batch.rollouts.group_N).tolist() == [4] * int(batch.rollouts.group_N.max() + 1)
    # What NSR would do is what the trainer did: wrong rows, and no other, have a weight below zero.
    logged_N = table[table.step == batch.step].advantage.to_numpy()
    assert (own.weights_of("nsr", batch.rollouts).sum(1) < 0).sum() == (logged_N < 0).sum() > 0


@pytest.mark.skipif(not (DATA and Path(DATA, "responses.jsonl").is_file()),
                    reason="POLARITY_TEST_DATA names no folder with responses.jsonl (the texts may not be committed)")
def test_recorded_responses_of_real_models():
    table = own.read_table(Path(DATA, "responses.jsonl")).head(60)
    table = table.assign(prompt=table["gold"].astype(str), reward=0.0)
    judged = own.recheck(table, own.find_columns(table, "gold=gold,response=response,reward=reward"))
    assert len(judged) == 60 and set(judged.label) <= {"correct", "wrong", "no_answer", "truncated", "timed_out"}
    assert (judged.differ == (judged.label == "correct")).all()  # the log called everything wrong


def test_conversations_and_several_rewards():
    table = pd.DataFrame({
        "prompt": [[{"role": "user", "content": "1+1"}]] * 2,
        "completion": [[{"role": "assistant", "content": "2"}], [{"role": "assistant", "content": "3 !"}]],
        "format_reward": [0.1, 0.1], "math_reward": [1.0, 0.0], "advantage": [1.0, -1.0]})
    columns = own.find_columns(table)
    assert columns.reward == "format_reward+math_reward"
    batch = own.to_batches(table, columns)[0]
    assert batch.rollouts.correct_N.tolist() == [True, False] and batch.pieces == [["2"], ["3", " !"]]
    assert own.right_rows(table, columns, right_above=1.5).tolist() == [False, False]


def test_verdicts_in_words_and_holes_in_rewards():
    table = TABLE.drop(columns="reward").assign(verdict=["Correct", "wrong", "timed_out", True])
    assert own.right_rows(table, own.find_columns(table)).tolist() == [True, False, False, True]
    holes = TABLE.assign(reward=[1.0, None, "x", 0.0])
    assert own.right_rows(holes, own.find_columns(holes)).tolist() == [True, False, False, False]


# ---------------------------------------------------------------- with a model


def test_gradients_of_a_model(policy):
    table = pd.DataFrame({"prompt": ["123>6:"] * 3 + ["55>25:"] * 3, "reward": [1, 0, 0, 1, 1, 0],
                          "response": ["1+2+3", "1*2*3", "3", "5*5", "55", "5+5+5"]})
    batch = own.rescored(batch_of(table), policy)
    assert batch.pieces[0] == [*"1+2+3", "<eos>"]
    # The log-probabilities are the model's own.
    prompt, answer = policy.encode("123>6:"), policy.encode("1+2+3") + [policy.tokenizer.eos_token_id]
    with torch.no_grad():
        logs = policy.model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    assert torch.allclose(batch.rollouts.logprobs_NT[0, :6], logs.gather(1, torch.tensor(answer)[:, None])[:, 0], atol=1e-4)
    gradient = own.gradient_in(policy, batch)
    cosines = own.agreement(batch, "grpo,nsr,psr", gradient)
    # By hand for one pair: descent on each method's own loss.
    directions = []
    for name in ("grpo", "nsr"):
        weights_NT = token_weights(method_named(name), batch.rollouts)
        logprobs_NT = token_logprobs(policy.model, pack_rows(batch.rollouts, torch.ones(6, dtype=torch.bool), policy),
                                     batch.rollouts.mask_NT)[0]
        grads = torch.autograd.grad((logprobs_NT * weights_NT).sum(), list(policy.model.parameters()))
        directions.append(torch.cat([g.flatten() for g in grads]))
    assert cosines.loc["grpo", "nsr"] == pytest.approx(float(torch.cosine_similarity(*directions, dim=0)), abs=1e-4)
    assert own.agreement(batch, "psr,nsr").loc["psr", "nsr"] == 0 != round(cosines.loc["psr", "nsr"], 3)


# ---------------------------------------------------------------- verdicts again, the viewer, the command


def test_verdicts_are_judged_again():
    table = pd.DataFrame({"prompt": ["?"] * 3, "response": [r"\boxed{0.5}", r"\boxed{3}", r"\boxed{4}"],
                          "answer": ["1/2", "3", "5"], "reward": [0.0, 1.0, 1.0]})
    judged = own.recheck(table, own.find_columns(table))
    assert judged.index.tolist() == [0, 2, 1] and judged.differ.tolist() == [True, True, False]
    assert judged.logged.tolist() == ["wrong", "right", "right"] and judged.ours.tolist() == ["right", "wrong", "right"]
    with pytest.raises(own.BadTable, match="true answers"):
        own.recheck(table.drop(columns="answer"), own.find_columns(table.drop(columns="answer")))


def test_the_viewer_shades_every_piece():
    shown = own.view(batch_of(), "nsr", [1]).data
    assert shown.count("<span") == 3 and "(wrong)" in shown and "z" in shown


def test_the_command(tmp_path, capsys):
    TABLE.assign(answer="x").to_json(tmp_path / "log.jsonl", orient="records", lines=True)
    assert main(["own", str(tmp_path / "log.jsonl"), "--methods", "grpo,nsr", "--recheck"]) == 0
    out = capsys.readouterr().out
    assert "read as: prompt=prompt, response=response, reward=reward" in out
    assert "cosines of token weights" in out and "verdicts differ" in out


@pytest.mark.parametrize(("arguments", "line"), [
    (["absent.csv"], "there is no table"),
    (["{}/log.txt"], ".txt is not known"),
    (["{}/empty.csv"], "cannot be read"),
    (["{}/log.csv", "--columns", "reward=rewrad"], "Unknown column"),
    (["{}/log.csv", "--columns", "rewrad=reward"], "Did you mean 'reward'"),
    (["{}/log.csv", "--methods", "gppo"], "Unknown method"),
    (["{}/log.csv", "--step", "9"], "Unknown step"),
    (["{}/nothing.csv"], "which column holds the reward or the verdict"),
])
def test_what_is_wrong_with_a_table_is_one_line(arguments, line, tmp_path, capsys):
    (tmp_path / "log.txt").write_text("x")
    (tmp_path / "empty.csv").write_text("")
    TABLE.to_csv(tmp_path / "log.csv", index=False)
    TABLE.drop(columns="reward").to_csv(tmp_path / "nothing.csv", index=False)
    assert main(["own", *(a.format(tmp_path) for a in arguments)]) != 0
    err = capsys.readouterr().err
    assert line in err and err.count("\n") == 1


def test_numbers_per_token_must_be_as_many_as_tokens():
    table = TABLE.assign(entropies=[[1.0], [1.0], [1.0], [1.0]])
    with pytest.raises(own.BadTable, match="entropies: row 0 has 1 numbers and 2 tokens"):
        batch_of(table)


@pytest.mark.parametrize(("changed", "line"), [
    ({"step": [1, None, 1, None]}, "step: 2 of 4 rows hold nothing, the first is row 1;"),
    ({"step": [None] * 4}, "step: 4 of 4 rows hold nothing, the first is row 0;"),
    ({"prompt": ["a", "b", None, "b"]}, "prompt: 1 of 4 rows hold nothing, the first is row 2;"),
    ({"prompt": ["a", "", "a", "b"]}, "prompt: 1 of 4 rows hold nothing, the first is row 1;"),  # as CSV reads it
    ({"uid": [0, 1, 0, np.nan]}, "uid: 1 of 4 rows hold nothing, the first is row 3;"),
    ({"logprobs": [[-0.1, -0.2], None, [-0.3] * 3, [-1.0] * 2]}, "logprobs: 1 of 4 rows hold no list of numbers, the first is"),
])
def test_a_hole_is_refused_and_no_row_vanishes(changed, line):
    with pytest.raises(own.BadTable, match=line):
        batch_of(TABLE.assign(**changed))


def test_a_hole_in_the_prompt_is_none_where_groups_are_given():
    batch = batch_of(TABLE.assign(uid=[0, 1, 0, 1], prompt=["a", None, "a", None]))
    assert batch.rollouts.group_N.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_an_empty_list_is_one_empty_answer(ending, tmp_path):
    """The others keep their tokens, here of characters, also where the empty one is alone in its step."""
    table = TABLE.assign(response=["xy", "", "xzw", "vv"], logprobs=[[-0.1, -0.2], [], [-0.3] * 3, [-1.0] * 2], step=[1, 2, 1, 1])
    path = tmp_path / f"table.{ending}"
    {"parquet": lambda: table.to_parquet(path), "csv": lambda: table.to_csv(path, index=False),
     "jsonl": lambda: table.to_json(path, orient="records", lines=True)}[ending]()
    table = own.read_table(path)
    batches = own.to_batches(table, own.find_columns(table))
    assert [batch.pieces for batch in batches] == [[["x", "y"], ["x", "z", "w"], ["v", "v"]], [[]]]
    assert not any(batch.by_words for batch in batches)
    whole = own.to_batches(table.drop(columns="step"), own.find_columns(table.drop(columns="step")))[0]
    assert whole.rollouts.mask_NT.sum(1).tolist() == [2, 3, 0, 2] and own.describe(whole)["length in"] == "tokens"
    shown = own.effects(whole, "grpo,nsr,reinforce,lens")
    assert shown.loc["reinforce", "right share"] == pytest.approx(2 / 7) and shown.loc["nsr", "rows used"] == 0.5
    assert "without tokens" in shown.loc["lens", "note"]


def test_files_of_several_kinds_are_refused(tmp_path):
    TABLE.to_parquet(tmp_path / "completions.parquet")
    (tmp_path / "run_config.json").write_text('[{"model": "m"}]')
    with pytest.raises(own.BadTable, match=r"several kinds \(completions.parquet, run_config.json\); name one file"):
        own.read_table(tmp_path)
    assert len(own.read_table(tmp_path / "completions.parquet")) == 4


def test_the_example_is_whole():
    table = own.read_table(own.EXAMPLE)
    batch = batch_of(table)
    told = own.describe(batch)
    assert told["groups"] >= 12 and 0 < told["groups all wrong"] < 1 and not batch.by_words
    assert own.effects(batch, "grpo,a3po,lens,nsr,rl_zvp").note.tolist() == [""] * 5


def test_unknown_methods_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'nsr'"):
        own.effects(batch_of(), "nrs")
