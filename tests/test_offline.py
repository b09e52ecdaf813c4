"""Data sets of answers: what is written is read back, what is not whole is refused, and the loop trains on it."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch

from polarity_lib import offline, training
from polarity_lib.config import ConfigError, OfflineConfig, RunConfig, StartConfig
from polarity_lib.engines import make_sampler
from polarity_lib.experiments import Arm, train_or_load
from polarity_lib.methods import method_named, takes_stored
from polarity_lib.offline import FILE, MANIFEST, count_rows, draw_parts, open_answers, write_answers
from polarity_lib.pretraining import base_policy
from polarity_lib.problems import world_named
from polarity_lib.results import Damaged, RunFolder, without_timings
from polarity_lib.run import prepare

START = StartConfig("countdown", "smoke", steps=300, seed=0, batch=64)
STORED = OfflineConfig(problems=24, answers=8)
ABOUT = {"world": "countdown3", "answers": 8, "sampling": {"temperature": 1.0, "max_new_tokens": 16}}


def config(method="grpo", **changes):
    fields = {"world": "countdown3", "start": START, "seed": 0, "steps": 4, "learning_rate": 1e-3, "prompts_per_step": 4,
              "rollouts_per_prompt": 8, "curve_every": 2, "curve_problems": 2, "curve_samples": 2, "final_problems": 4,
              "final_samples": 4, "checkpoint_every": 1, "offline": STORED}  # fmt: skip
    return RunConfig(method=method, **(fields | changes))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A data set in a folder, and the judged rollouts it was written from."""
    policy, folder = base_policy(START), tmp_path_factory.mktemp("set")
    parts = list(draw_parts(policy, world_named("countdown3").draw("train", 24, 0), 8, 1.0, "test"))
    manifest = write_answers(folder, iter(parts), ABOUT | {"policy": "p"}, uniform=True)
    return folder, parts, manifest, policy


def test_counts_by_hand():
    wrong = {"label": "wrong", "tokens": list(range(10)), "steps": [
        {"start": 0, "end": 3, "label": "right"}, {"start": 4, "end": 8, "label": "wrong"}]}
    right = {"label": "correct", "tokens": [1, 2, 3], "steps": []}
    assert count_rows([wrong, right]) == {
        "wrong": 1, "right": 1, "wrong_tokens": 10, "right_tokens": 3,
        "wrong_tokens/right": 3, "wrong_tokens/wrong": 4, "wrong_tokens/none": 3}


def test_what_was_written_is_read_back_bit_for_bit(kept):
    folder, parts, manifest, policy = kept
    stored, before = open_answers(folder, policy), parts[0]
    again = stored.sample(stored.problems, 8)
    assert [p.key for p in stored.problems] == [p.key for p in before.problems[::8]]
    assert again.texts == before.texts and again.verdicts == before.verdicts and again.prompt_ids == before.prompt_ids
    for name in ("tokens_NT", "mask_NT", "logprobs_NT", "entropies_NT", "finished_N", "group_N"):
        width = getattr(again, name).shape[-1]
        ours, theirs = getattr(again, name), getattr(before, name)[..., :width]
        assert torch.equal(ours, theirs * again.mask_NT.to(theirs) if name == "tokens_NT" else theirs), name
    assert again.drawn == 0 and again.problems[0].world == "countdown3"
    assert manifest["right"] == int(before.correct_N.sum()) and manifest["right"] + manifest["wrong"] == 24 * 8
    assert manifest["right_tokens"] + manifest["wrong_tokens"] == int(before.mask_NT.sum())


def test_a_batch_is_a_few_problems_in_the_order_asked_for(kept):
    stored = open_answers(kept[0], kept[3])
    batch = stored.sample([stored.problems[5], stored.problems[2]], 8)
    assert [p.key for p in batch.problems[::8]] == [stored.problems[5].key, stored.problems[2].key]
    assert batch.texts[8:] == kept[1][0].texts[16:24]
    with pytest.raises(ConfigError, match="holds 8 answers to a problem, not 4"):
        stored.sample(stored.problems[:1], 4)
    with pytest.raises(ConfigError, match="no answers to elsewhere"):
        stored.sample([replace(stored.problems[0], key="elsewhere")], 8)


def test_groups_of_one_verdict_are_left_out_and_counted(kept, tmp_path):
    _, parts, whole, policy = kept
    manifest = write_answers(tmp_path / "mixed", iter(parts), ABOUT, uniform=False)
    wins = parts[0].correct_N.view(24, 8).sum(1)
    assert manifest["dropped"] == {"all_right": int((wins == 8).sum()), "all_wrong": int((wins == 0).sum())}
    assert manifest["problems"] == int(((wins > 0) & (wins < 8)).sum()) < whole["problems"] == 24
    stored = open_answers(tmp_path / "mixed", policy)
    assert all(0 < n < 8 for n in stored.sample(stored.problems, 8).correct_N.view(-1, 8).sum(1).tolist())


def test_a_share_holds_the_smaller_shares(kept):
    whole, half, quarter = ([p.key for p in open_answers(kept[0], share=s).problems] for s in (1.0, 0.5, 0.25))
    assert (len(half), len(quarter)) == (12, 6) and whole[:12] == half and half[:6] == quarter


def test_the_file_is_mapped_and_not_read(kept):
    stored = open_answers(kept[0])
    buffers = [b for chunk in stored.table["tokens"].chunks for b in chunk.buffers() if b is not None]
    assert buffers and all(not buffer.is_mutable for buffer in buffers)  # views of the read-only map


@pytest.mark.peers
def test_datasets_opens_the_file_as_it_is(kept):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_file(str(kept[0] / FILE))
    assert len(table) == 24 * 8 and table[3]["text"] == kept[1][0].texts[3]


@pytest.mark.parametrize(("harm", "said"), [
    (lambda f: f.write_bytes(f.read_bytes()[:-100]), "is truncated"),
    (lambda f: f.write_bytes(f.read_bytes()[:-1] + b"!"), "was altered"),
    (lambda f: f.write_bytes(f.read_bytes() + b"more"), "was altered"),
    (lambda f: f.unlink(), "is missing"),
    (lambda f: (f.parent / MANIFEST).write_text("{"), "it is no JSON"),
    (lambda f: (f.parent / MANIFEST).write_text('{"format": 99}'), "another format"),
    (lambda f: (f.parent / MANIFEST).unlink(), "no data set of answers or an unfinished one"),
])
def test_what_is_not_whole_is_refused_in_one_line(kept, tmp_path, harm, said):
    for name in (FILE, MANIFEST):
        (tmp_path / name).write_bytes((kept[0] / name).read_bytes())
    harm(tmp_path / FILE)
    with pytest.raises(Damaged, match=said) as caught:
        open_answers(tmp_path)
    assert "\n" not in str(caught.value)


def test_prompts_are_put_to_a_policy_as_its_sampler_puts_them(kept):
    """With a language model: its first token, its template, the instruction behind the problem."""

    class Instructed:
        tokenizer = type("Tokenizer", (), {"pad_token_id": 0})

        def encode_prompt(self, text):
            return [99, *text.encode()]

    stored = open_answers(kept[0], Instructed())
    assert {ids[0] for ids in stored.sample(stored.problems[:1], 8).prompt_ids} == {99}


def test_a_set_without_any_mixed_group_is_refused(kept, tmp_path):
    policy = kept[3]
    part = make_sampler(policy).sample(world_named("countdown3").draw("train", 2, 0), 1, "one")
    with pytest.raises(ConfigError, match="all right or all wrong"):
        write_answers(tmp_path / "none", iter([part.but(verdicts=kept[1][0].verdicts[:2])]), {"answers": 1})
    assert not (tmp_path / "none" / FILE).exists()


# ---------------------------------------------------------------- in the loop


def run_tables(**changes):
    arm = Arm("test", "arm", config(**changes), "smoke")
    return train_or_load([arm], reuse_published=False, progress=False)


def test_runs_that_share_a_set_draw_it_once_and_sample_nothing(own_runs):
    first = run_tables()
    (written,) = (own_runs / "answers").glob(f"*/{FILE}")
    before = written.stat().st_mtime_ns
    second = run_tables(method="rloo")
    assert [written] == list((own_runs / "answers").glob(f"*/{FILE}")) and written.stat().st_mtime_ns == before
    for runs in (first, second):
        assert (runs.metrics[runs.metrics.metric == "sampling/drawn"].value == 0).all()
        assert (runs.metrics[runs.metrics.metric == "groups/all_wrong"].value == 0).all()  # uniform groups were left out
    manifest = json.loads((written.parent / MANIFEST).read_text())
    assert manifest["policy"] == json.loads(next(own_runs.glob("*grpo*/record.json")).read_text())["base_weights"]


def test_another_writer_another_set(own_runs):
    other = replace(START, steps=200)
    run_tables(offline=replace(STORED, writer=other))
    run_tables()
    policies = {json.loads(m.read_text())["policy"] for m in (own_runs / "answers").glob(f"*/{MANIFEST}")}
    assert len(policies) == 2


def test_an_offline_run_names_its_set_and_online_runs_keep_their_names():
    assert config(offline=None).identity == {k: v for k, v in config().identity.items() if k != "offline"}
    assert config().identity["offline"] == {"problems": 24, "answers": 8}
    assert len({config().hash, config(offline=replace(STORED, share=0.5)).hash, config(offline=None).hash}) == 3


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="holds 8 answers"):
        config(rollouts_per_prompt=4)
    with pytest.raises(ConfigError, match="do not split into 3 equal rounds"):
        config(offline=replace(STORED, rounds=3))
    with pytest.raises(ConfigError, match="share must be above 0"):
        OfflineConfig(1, 1, share=0.0)
    with pytest.raises(ConfigError, match="answers must be a whole number"):
        OfflineConfig(1, 0)


@pytest.mark.parametrize("rounds", [1, 2])
def test_an_interrupted_run_ends_bit_identical(own_runs, tmp_path, rounds):
    wanted = config(steps=4, offline=replace(STORED, rounds=rounds))
    whole = training.train(wanted, RunFolder("whole", wanted.identity, tmp_path))
    folder = RunFolder("broken", wanted.identity, tmp_path)

    class Stop(Exception):
        pass

    for end in (1, 3):  # within the first round, and within the second

        def watch(step, steps, left, end=end):
            if step == end:
                raise Stop

        with pytest.raises(Stop):
            training.train(wanted, folder, watch=watch)
    pieces = training.train(wanted, folder)
    pd.testing.assert_frame_equal(without_timings(whole["metrics"]), without_timings(pieces["metrics"]))


def test_a_later_round_is_written_by_the_policy_as_it_then_is(own_runs, tmp_path):
    wanted = config(steps=4, offline=replace(STORED, rounds=2))
    training.train(wanted, RunFolder("run", wanted.identity, tmp_path))
    first = json.loads(next((own_runs / "answers").glob(f"*/{MANIFEST}")).read_text())
    second = json.loads((tmp_path / "run" / "round-1" / MANIFEST).read_text())
    assert first["policy"] != second["policy"] and second["identity"]["round"] == 1


def test_a_reference_model_and_several_rounds_exclude_each_other(own_runs):
    wanted = config(options=(("kl", 0.1),), offline=replace(STORED, rounds=2))
    with pytest.raises(ConfigError, match="sampled_logprobs"):
        prepare(wanted, "cpu")


@pytest.mark.parametrize(("method", "options"), [("osi", ()), ("dapo", ()), ("step_values", ()), ("grpo_cut", (("limit", 5),))])
def test_a_method_that_draws_in_its_own_way_is_refused_stored_answers(method, options, own_runs):
    with pytest.raises(ConfigError, match=f"^{method} draws its batches in a way of its own.*leave `offline` out") as refusal:
        prepare(config(method, options=options), "cpu")
    assert "\n" not in str(refusal.value) and not list(own_runs.glob("*"))  # nothing was made, not even a base policy
    prepare(config(method, options=options, offline=None), "cpu")


def test_methods_that_take_what_comes_and_those_that_say_so_are_given_stored_answers():
    offered = {"grpo_cut": {}, "dapo": {"dynamic": False}, "dpo": {"negatives": "near"}, "bcpg": {"negatives": "plausible"}}
    assert all(takes_stored(method_named(name, options)) for name, options in offered.items())


def test_extras_a_loss_may_ask_for(own_runs):
    """Stored log-probabilities, tokens and groups reach the loss; hidden states give the distributions back."""
    run, seen = prepare(config(), "cpu"), {}
    plain = run.method.token_loss

    def spy(logp, old, A, mask, extras):
        seen.update(extras)
        return plain(logp, old, A, mask, extras)

    needs = frozenset({"sampled_logprobs", "groups", "tokens", "old_hidden", "old_distributions"})
    run.method = replace(run.method, token_loss=spy, needs=needs)
    training.one_step(run)
    batch = run.answers.sample(run.answers.problems, 8)
    rows = len(seen["groups"])
    assert rows == 32 and seen["groups"].unique().tolist() == [0, 1, 2, 3]
    where = seen["sampled_logprobs"] != 0
    stored = set(batch.logprobs_NT[batch.mask_NT.bool()].tolist())
    assert set(seen["sampled_logprobs"][where].tolist()) <= stored
    start = base_policy(START)
    again = start.model.lm_head(seen["old_hidden"][where]).log_softmax(-1)
    assert torch.allclose(again, seen["old_distributions"][where], atol=1e-5)
    # The policy is the one that wrote the answers, so what it gives to their tokens is what was stored.
    mine = seen["old_distributions"][where].gather(1, seen["tokens"][where][:, None])[:, 0]
    assert torch.allclose(mine, seen["sampled_logprobs"][where], atol=1e-4)


def test_steps_of_a_chain_come_with_the_set(tmp_path):
    policy = base_policy(StartConfig("chain_cold", "smoke", 30, 0, batch=16))
    parts = list(draw_parts(policy, world_named("strong").draw("train", 4, 0), 4, 1.0, "steps"))
    text = "3+5=8;8+1=9#9"
    parts[0].texts[0] = text
    write_answers(tmp_path, iter(parts), {"world": "strong", "answers": 4, "sampling": {"max_new_tokens": 96}}, uniform=True)
    stored = open_answers(tmp_path, policy)
    steps = stored.sample(stored.problems, 4).extras["steps"]
    assert len(steps) == 16 and [text[a:b] for a, b, _ in steps[0]] == ["3+5=8", "8+1=9"]
    assert offline.UNLABELLED not in {label for row in steps for _, _, label in row}
