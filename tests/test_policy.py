"""The policy against plain transformers: packing, saving, LoRA."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from polarity_lib.config import ConfigError
from polarity_lib.engines import FastSampler, ModelSampler, make_sampler
from polarity_lib.loading import load_policy
from polarity_lib.problems import world_named
from polarity_lib.policy import ALPHABET, EOS, PAD, build_policy, build_tokenizer, pack, token_logprobs

# Ragged on purpose: prompts and answers of many lengths, a group of one, an answer of one token.
BUNDLES = [
    ("123>6:", ["1+2+3", "1*2*3", "3"]),
    ("1234567>9:", ["7+2"]),
    ("9>9:", ["9", "(9)", "9+9-9+9-9+9-9+9-9+9-9", "0"]),
    ("55>25:", ["5*5", "5+5+5+5+5"]),
]


def encoded(policy):
    return [(policy.encode(p), [policy.encode(a) for a in answers]) for p, answers in BUNDLES]


def row_by_row(model, bundles, temperature=1.0):
    """The obvious computation: one plain forward pass per response."""
    rows = []
    for prompt, answers in bundles:
        for answer in answers:
            logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1] / temperature
            logs = logits.log_softmax(-1)
            rows.append((logs.gather(1, torch.tensor(answer)[:, None])[:, 0], -(logs.exp() * logs).sum(-1)))
    return rows


def mask_of(bundles):
    lengths = [len(a) for _, answers in bundles for a in answers]
    return (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).float()


# ---------------------------------------------------------------- packing


def test_a_packed_sequence_by_hand():
    packed = pack([([5, 6], [[7, 8], [9]])], capacity=6, pad=0)
    assert packed.ids_SL.tolist() == [[5, 6, 7, 8, 9, 0]]
    assert packed.positions_SL.tolist() == [[0, 1, 2, 3, 2, 0]]  # both answers begin behind the prompt
    assert packed.predictor_M.tolist() == [1, 2, 1]  # 7 and 9 are predicted by the prompt's last token
    assert packed.targets_M.tolist() == [7, 8, 9]
    assert packed.attend[0, 0].int().tolist()[:5] == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],  # 9 sees the prompt and itself, not its sibling 7, 8
    ]


def test_sequences_fill_up_to_their_capacity():
    sizes = [5, 4, 3, 2, 2]
    packed = pack([([1], [[2] * (n - 1)]) for n in sizes], capacity=8)
    assert packed.ids_SL.shape == (2, 8)  # 5 + 3 and 4 + 2 + 2, nothing wasted
    assert pack([([1], [[2] * 11])], capacity=8).ids_SL.shape == (1, 12)  # too long: a sequence of its own


@pytest.mark.parametrize("capacity", [1, 40, 96, 1000])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_packed_logprobs_equal_plain_forward_passes(policy, capacity, temperature):
    bundles = encoded(policy)
    mask = mask_of(bundles)
    with torch.no_grad():
        logprobs, entropies, hidden = token_logprobs(policy.model, pack(bundles, capacity), mask, temperature, chunk=7)
        expected = row_by_row(policy.model, bundles, temperature)
    assert len(hidden) == mask.sum()
    for i, (logs, entropy) in enumerate(expected):  # rows keep the order of the bundles
        assert torch.allclose(logprobs[i, : len(logs)], logs, atol=1e-5)
        assert torch.allclose(entropies[i, : len(logs)], entropy, atol=1e-5)
        assert (logprobs[i, len(logs) :] == 0).all() and (entropies[i, len(logs) :] == 0).all()


def test_packed_gradients_equal_plain_gradients(policy):
    bundles, parameters = encoded(policy), list(policy.model.parameters())
    packed, _, _ = token_logprobs(policy.model, pack(bundles), mask_of(bundles))
    plain = torch.cat([logs for logs, _ in row_by_row(policy.model, bundles)])
    ours, theirs = (torch.autograd.grad(x.sum() / len(plain), parameters) for x in (packed, plain))
    for a, b in zip(ours, theirs):
        assert torch.allclose(a, b, atol=1e-5)


# ---------------------------------------------------------------- tokenizer and files


def test_one_token_per_character():
    tokenizer = build_tokenizer()
    assert len(tokenizer) == 2 + len(ALPHABET) and len(set(ALPHABET)) == len(ALPHABET)
    assert tokenizer(ALPHABET)["input_ids"] == list(range(2, len(tokenizer)))
    assert tokenizer.decode(range(2, len(tokenizer))) == ALPHABET
    assert (tokenizer.pad_token, tokenizer.eos_token) == (PAD, EOS)


def test_a_saved_policy_is_the_same_in_transformers(policy, tmp_path):
    policy.save(tmp_path)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    text = "3 + 5[7-9] - 2:3+5=8?3+5=8;8-2=6#6 (1*2)>"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids == policy.encode(text) and len(ids) == len(text)
    assert tokenizer.decode(ids) == policy.decode(ids) == text
    assert tokenizer.eos_token_id == model.config.eos_token_id == policy.tokenizer.eos_token_id
    with torch.no_grad():
        assert torch.equal(model(torch.tensor([ids])).logits, policy.model(torch.tensor([ids])).logits)


def test_initial_weights_depend_on_the_seed_and_on_nothing_else():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, again, other = build_policy("smoke", 0), build_policy("smoke", 0), build_policy("smoke", 1)
    assert torch.equal(torch.random.get_rng_state(), before)  # nobody else's draws have moved
    weights = [p.model.lm_head.weight for p in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_an_unknown_size_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'tiny'"):
        build_policy("tinny", 0)


# ---------------------------------------------------------------- LoRA


@pytest.fixture
def adapted(policy, tmp_path):
    pytest.importorskip("peft")
    policy.save(tmp_path)
    return load_policy(str(tmp_path), lora_rank=4)


def test_a_fresh_adapter_changes_nothing_and_alone_is_trained(policy, adapted):
    bundles = encoded(policy)
    plain, _, _ = token_logprobs(policy.model, pack(bundles), mask_of(bundles))
    ours, _, _ = token_logprobs(adapted.model, pack(bundles), mask_of(bundles))
    assert torch.allclose(plain, ours, atol=1e-6)
    trained = [name for name, p in adapted.model.named_parameters() if p.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    ours.sum().backward()
    assert all(p.grad is not None for p in adapted.model.parameters() if p.requires_grad)
    assert all(p.grad is None for p in adapted.model.parameters() if not p.requires_grad)


def test_a_trained_adapter_is_what_is_scored_and_sampled(adapted):
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in adapted.model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.1)
        bundles = encoded(adapted)
        ours, _, _ = token_logprobs(adapted.model, pack(bundles), mask_of(bundles))
        expected = row_by_row(adapted.model, bundles)
        with adapted.model.disable_adapter():
            frozen = row_by_row(adapted.model, bundles)
    for i, (logs, _) in enumerate(expected):
        assert torch.allclose(ours[i, : len(logs)], logs, atol=1e-5)
    assert not torch.allclose(torch.cat([x for x, _ in frozen]), torch.cat([x for x, _ in expected]), atol=1e-2)
    # The fast sampler adds the adapter's product to the weights beneath it.
    fast, general = (s(adapted).sample(world_named("countdown3").draw("train", 4, 0), 3, "adapted")
                     for s in (FastSampler, ModelSampler))
    assert isinstance(make_sampler(adapted), FastSampler) and torch.equal(fast.tokens_NT, general.tokens_NT)
    assert torch.allclose(fast.logprobs_NT, general.logprobs_NT, atol=1e-4)
