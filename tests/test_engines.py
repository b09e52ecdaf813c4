"""Sampling: by hand, against transformers, and independent of how rows are batched."""

import math

import pytest
import torch
from families import tiny_of
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from scipy import stats

from polarity_lib.config import ConfigError
from polarity_lib.engines import FastSampler, ModelSampler, fast_sampler, make_sampler
from polarity_lib.engines.prefixes import next_prefixes, next_prefixes_in_place
from polarity_lib.engines.torch_sampler import pick_tokens, uniforms
from polarity_lib.engines.vllm import VllmEngine, fingerprint
from polarity_lib.problems import Problem, world_named
from polarity_lib.verification import verify

SAMPLERS = [FastSampler, ModelSampler]
both = pytest.mark.parametrize("sampler", SAMPLERS)
# Prompts of different lengths (countdown's 6 and chain's up to 18 characters), so padding is exercised.
PROBLEMS = world_named("countdown3").draw("train", 3, 0) + world_named("chain").draw("train", 3, 0)


def plain_logits(policy, rollouts, row):
    """Logits at every response token from one plain forward pass."""
    prompt = rollouts.prompt_ids[row]
    length = int(rollouts.mask_NT[row].sum())
    ids = torch.tensor([prompt + rollouts.tokens_NT[row, :length].tolist()])
    with torch.no_grad():
        return policy.model(ids).logits[0, len(prompt) - 1 : -1]


# ---------------------------------------------------------------- one token, by hand

LOGITS = torch.tensor([[0.5, 0.3, 0.2]]).log()
ROW = torch.tensor([0])


def picked(uniform, temperature=1.0, top_p=1.0, logits=LOGITS):
    token, logprob, entropy = pick_tokens(
        logits, ROW, None if uniform is None else torch.tensor([uniform]), temperature, top_p)  # fmt: skip
    return token.item(), logprob.item(), entropy.item()


def test_a_token_by_inverting_the_distribution():
    assert [picked(u)[0] for u in (0.0, 0.49, 0.51, 0.79, 0.81, 0.999)] == [0, 0, 1, 1, 2, 2]
    assert picked(0.6)[1] == pytest.approx(math.log(0.3))
    entropy = -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2))
    assert picked(0.6)[2] == pytest.approx(entropy)


def test_greedy_takes_the_likeliest_at_its_untempered_probability():
    assert picked(None, temperature=5.0)[:2] == (0, pytest.approx(math.log(0.5)))


def test_temperature_by_hand():
    # Squares 0.25, 0.09, 0.04 of the probabilities, normalised by 0.38.
    assert picked(0.25 / 0.38 + 0.01, temperature=0.5)[:2] == (1, pytest.approx(math.log(0.09 / 0.38)))


def test_the_nucleus_by_hand():
    # 0.5 does not reach 0.7, 0.5 + 0.3 does: the third token is out and 0.8 is spread over [0, 1).
    assert [picked(u, top_p=0.7)[0] for u in (0.0, 0.62, 0.63, 0.999)] == [0, 0, 1, 1]
    assert [picked(u, top_p=0.4)[0] for u in (0.0, 0.999)] == [0, 0]  # the first is enough
    assert picked(0.7, top_p=0.7)[1] == pytest.approx(math.log(0.3))  # of the whole distribution
    shuffled = torch.tensor([[0.2, 0.5, 0.3]]).log()
    assert [picked(u, top_p=0.7, logits=shuffled)[0] for u in (0.0, 0.62, 0.63, 0.999)] == [1, 1, 2, 2]


@given(
    st.lists(st.floats(-8, 8), min_size=2, max_size=6), st.floats(0, 1, exclude_max=True, width=32), st.floats(0.1, 1)
)
def test_no_draw_leaves_the_nucleus(logits, uniform, top_p):
    token, logprob, entropy = picked(uniform, top_p=top_p, logits=torch.tensor([logits]))
    probs = torch.tensor(logits).softmax(0)
    likelier = probs[probs > probs[token] + 1e-6].sum().item()
    assert likelier < top_p + 1e-5
    assert logprob <= 0 and -1e-6 <= entropy <= math.log(len(logits)) + 1e-5


# ---------------------------------------------------------------- the tree of prefixes


def test_prefixes_by_hand():
    # Rollouts 0-2 share row 0 and draw 7, 7, 8; rollout 3 on row 1 draws 7; rollout 4 has ended.
    where, token = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([7, 7, 8, 7, 1])
    parents, tokens, where = next_prefixes(where, token, torch.tensor([True, True, True, True, False]), rows=2)
    assert parents.tolist() == [0, 0, 1] and tokens.tolist() == [7, 8, 7]
    assert where[:4].tolist() == [0, 0, 1, 2]


def test_rows_stay_where_they_are_when_nothing_branches():
    alive = torch.tensor([True, True])
    parents, tokens, where = next_prefixes(torch.tensor([0, 1]), torch.tensor([5, 6]), alive, rows=2)
    assert parents is None and tokens.tolist() == [5, 6] and where.tolist() == [0, 1]


def test_a_prefix_keeps_its_row_and_a_new_branch_takes_a_free_one():
    where, token = torch.tensor([0, 0, 1, 2, 3]), torch.tensor([5, 8, 6, 7, 9])
    alive = torch.tensor([True, True, True, False, True])
    parents, tokens, moved = next_prefixes_in_place(where, token, alive, rows=4)  # the second rollout leaves the first
    assert parents.tolist() == [0, 1, 0, 3] and tokens.tolist() == [5, 6, 8, 9]
    assert moved[alive].tolist() == [0, 2, 1, 3]
    parents, tokens, moved = next_prefixes_in_place(where, torch.tensor([5, 5, 6, 7, 9]), alive, rows=4)
    assert parents is None and tokens.tolist() == [5, 6, 0, 9] and moved[alive].tolist() == [0, 0, 1, 3]
    parents, tokens, moved = next_prefixes_in_place(where, token, torch.ones(5, dtype=torch.bool), rows=4)
    assert parents.tolist() == [0, 1, 2, 3, 0] and tokens.tolist() == [5, 6, 7, 9, 8] and moved.tolist() == [0, 4, 1, 2, 3]


def test_rows_are_put_in_order_when_few_are_in_use():
    alive = torch.tensor([False, True, True, False])
    parents, tokens, moved = next_prefixes_in_place(torch.arange(4), torch.tensor([5, 6, 7, 8]), alive, rows=4)
    assert parents.tolist() == [1, 2] and tokens.tolist() == [6, 7] and moved[alive].tolist() == [0, 1]


def naive(policy, problems, group_size, seed, limit, temperature, top_p):
    """One rollout at a time, the whole prefix recomputed for every token."""
    numbers, texts = uniforms(seed, problems, group_size, limit), []
    for i, problem in enumerate(p for p in problems for _ in range(group_size)):
        prompt, answer = policy.encode(problem.prompt), []
        while len(answer) < limit and answer[-1:] != [policy.tokenizer.eos_token_id]:
            with torch.no_grad():
                logits = policy.model(torch.tensor([prompt + answer])).logits[:, -1]
            answer.append(pick_tokens(logits, ROW, numbers[i, len(answer)][None], temperature, top_p)[0].item())
        texts.append(policy.decode(answer))
    return texts


@both
@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.9)])
def test_sampling_a_tree_equals_sampling_one_by_one(policy, sampler, temperature, top_p):
    rollouts = sampler(policy, temperature=temperature, top_p=top_p, max_new_tokens=10).sample(PROBLEMS, 4, "tree")
    assert rollouts.texts == naive(policy, PROBLEMS, 4, "tree", 10, temperature, top_p)


# ---------------------------------------------------------------- against transformers


@both
def test_greedy_tokens_equal_generate(policy, sampler):
    rollouts = sampler(policy, greedy=True, max_new_tokens=12).sample(PROBLEMS, 1, "unused")
    for row, prompt in enumerate(rollouts.prompt_ids):
        length = int(rollouts.mask_NT[row].sum())
        expected = policy.model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), do_sample=False, max_new_tokens=12)
        assert rollouts.tokens_NT[row, :length].tolist() == expected[0, len(prompt) :].tolist()


@both
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_and_entropies_equal_a_plain_forward_pass(policy, sampler, temperature):
    rollouts = sampler(policy, temperature=temperature).sample(PROBLEMS, 4, "numbers")
    for row in range(len(rollouts)):
        logs = (plain_logits(policy, rollouts, row) / temperature).log_softmax(-1)
        T = len(logs)
        chosen = logs.gather(1, rollouts.tokens_NT[row, :T, None])[:, 0]
        assert torch.allclose(rollouts.logprobs_NT[row, :T], chosen, atol=1e-4)
        assert torch.allclose(rollouts.entropies_NT[row, :T], -(logs.exp() * logs).sum(-1), atol=1e-4)


def test_first_tokens_follow_the_softmax(policy):
    problem, count = PROBLEMS[0], 4000
    rollouts = make_sampler(policy, max_new_tokens=1).sample([problem], count, "chi-square")
    expected = plain_logits(policy, rollouts, 0)[0].softmax(-1).double() * count
    seen = torch.bincount(rollouts.tokens_NT[:, 0], minlength=len(expected)).double()
    common = expected >= 5  # the usual rule; rare tokens are pooled
    observed, wanted = ([*x[common].tolist(), x[~common].sum().item()] for x in (seen, expected))
    assert stats.chisquare(observed, [w * count / sum(wanted) for w in wanted]).pvalue > 0.01


# ---------------------------------------------------------------- the record


@both
def test_the_record_is_consistent(policy, sampler):
    rollouts = sampler(policy, max_new_tokens=6).sample(PROBLEMS, 5, "record")
    eos, lengths = policy.tokenizer.eos_token_id, rollouts.mask_NT.sum(1).long()
    assert rollouts.drawn == len(rollouts) == 30 and rollouts.max_new_tokens == 6
    assert rollouts.group_N.tolist() == [g for g in range(6) for _ in range(5)]
    assert [p.prompt for p in rollouts.problems[::5]] == [p.prompt for p in PROBLEMS]
    for row, length in enumerate(lengths.tolist()):
        tokens = rollouts.tokens_NT[row, :length].tolist()
        assert rollouts.mask_NT[row].tolist() == [1.0] * length + [0.0] * (rollouts.mask_NT.shape[1] - length)
        assert bool(rollouts.finished_N[row]) == (tokens[-1] == eos)
        assert eos not in tokens[:-1]
        assert rollouts.finished_N[row] or length == 6
        assert rollouts.texts[row] == policy.decode(tokens)
    assert 0 < rollouts.finished_N.sum() < 30  # both kinds occur, or this test shows little
    assert (rollouts.logprobs_NT[rollouts.mask_NT == 0] == 0).all()


@both
def test_rows_do_not_depend_on_their_company(policy, sampler):
    whole = sampler(policy, rows=1024).sample(PROBLEMS, 4, "seed")
    assert whole.texts == sampler(policy, rows=1024).sample(PROBLEMS, 4, "seed").texts
    assert whole.texts == sampler(policy, rows=4).sample(PROBLEMS, 4, "seed").texts
    assert whole.texts != sampler(policy).sample(PROBLEMS, 4, "other seed").texts


def test_both_samplers_draw_the_same(policy):
    fast, general = (s(policy).sample(PROBLEMS, 8, "same") for s in SAMPLERS)
    assert fast.texts == general.texts and torch.equal(fast.mask_NT, general.mask_NT)
    assert torch.allclose(fast.logprobs_NT, general.logprobs_NT, atol=1e-4)


def test_the_fast_sampler_reads_the_norms(policy):
    # Fresh norms are all ones and would hide a scale that is left out.
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in policy.model.named_parameters():
            if "norm" in name:
                p.uniform_(0.5, 1.5)
    fast, general = (s(policy).sample(PROBLEMS, 2, "norms") for s in SAMPLERS)
    assert fast.texts == general.texts


@pytest.mark.parametrize(("family", "changes"), [
    ("llama", {}), ("llama", {"attention_bias": True}), ("llama, head size of its own", {}), ("qwen2", {}),
    ("qwen2", {"tie_word_embeddings": True}), ("qwen3", {}), ("qwen3", {"num_key_value_heads": 1, "attention_bias": True})])
def test_grouped_heads_biases_and_norms_of_heads_take_the_fast_sampler(family, changes):
    policy = tiny_of(family, **changes)
    for name, p in policy.model.named_parameters():
        if name.endswith("bias"):
            p.data.normal_(std=0.5)
    fast, general = (s(policy, max_new_tokens=12).sample(PROBLEMS, 4, "shapes") for s in SAMPLERS)
    assert isinstance(make_sampler(policy), FastSampler) and torch.equal(fast.tokens_NT, general.tokens_NT)
    assert torch.allclose(fast.logprobs_NT, general.logprobs_NT, atol=1e-3)


@pytest.mark.parametrize(("family", "changes"), [
    ("gpt2", {}), ("mistral, window of 6", {}), ("qwen2", {"hidden_act": "gelu"}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}})])
def test_other_shapes_take_the_general_sampler(family, changes):
    assert isinstance(make_sampler(tiny_of(family, **changes)), ModelSampler)


@pytest.mark.parametrize("options", [
    {"target_modules": ["q_proj", "down_proj", "lm_head", "embed_tokens"]},
    {"target_modules": ["q_proj"], "use_dora": True},
    {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}])
def test_whatever_an_adapter_does_is_sampled(options):
    policy = tiny_of("qwen2")
    policy.model = get_peft_model(policy.model, LoraConfig(r=2, task_type="CAUSAL_LM", **options)).eval()
    torch.manual_seed(0)
    for name, p in policy.model.named_parameters():
        if p.requires_grad:
            p.data.add_(0.3 * torch.randn_like(p))
    assert FastSampler.supports(policy.model) == (len(options) == 1)  # the others do more than add a product to weights
    for _ in range(2):
        mine, general = (make(policy, max_new_tokens=12).sample(PROBLEMS, 4, "adapters") for make in (make_sampler, ModelSampler))
        assert torch.equal(mine.tokens_NT, general.tokens_NT)
        assert torch.allclose(mine.logprobs_NT, general.logprobs_NT, atol=1e-3)
        policy.model.base_model.disable_adapter_layers()  # the second time, without it


def test_half_precision_and_many_parameters_take_the_general_sampler(policy, monkeypatch):
    assert isinstance(make_sampler(policy), FastSampler)
    monkeypatch.setattr(fast_sampler, "MOST", 1e4)
    assert isinstance(make_sampler(policy), ModelSampler)
    monkeypatch.undo()
    assert not FastSampler.supports(tiny_of("llama").model.to(torch.bfloat16))


def test_special_tokens_in_the_middle_of_an_answer_are_seen_by_the_verdict(policy):
    sampler = make_sampler(policy)
    pad, eos = policy.tokenizer.pad_token_id, policy.tokenizer.eos_token_id
    row = [*policy.encode("1+2"), pad, *policy.encode("*3"), eos]
    text, = sampler._texts(torch.tensor([row]), torch.tensor([len(row)]))
    assert text == "1+2<pad>*3"
    problem = Problem("countdown3", "123>7:", "7", "by hand")
    assert [v.label for v in verify([problem], [text], [True])] == ["no_answer"]
    assert sampler._texts(torch.tensor([[eos]]), torch.tensor([1])) == [""]


def test_without_vllm_the_line_says_how_to_get_it(policy, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"engine='vllm' needs vLLM, which is not installed: pip install \"vllm>="):
        VllmEngine(policy)


def test_a_fingerprint_sees_what_a_fused_optimizer_does(policy):
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-6, fused=True)
    before = fingerprint(policy.parameters())
    assert before == fingerprint(policy.parameters())
    policy.model(torch.tensor([[3, 4, 5]])).logits.square().mean().backward()
    optimizer.step()
    changed = [a != b for a, b in zip(before, fingerprint(policy.parameters()))]
    assert sum(changed) > 0.9 * len(changed)
    assert fingerprint([torch.ones(3, dtype=torch.bfloat16)]) != fingerprint([torch.tensor([1, 1, 1.01]).bfloat16()])
