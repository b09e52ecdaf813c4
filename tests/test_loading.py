"""Any causal model means what it says: against the model's own logits, one text at a time."""

import json
from dataclasses import replace

import pytest
import torch
from families import FAMILIES, refused, tiny_of
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, GenerationConfig, T5Config, T5ForConditionalGeneration

from polarity_lib.engines import FastSampler, ModelSampler, make_sampler
from polarity_lib.groups import NAME
from polarity_lib.loading import admit, check_texts, load_policy, packing_gap, save_merged
from polarity_lib.policy import Policy, build_policy, build_tokenizer, one_row_each, pack, token_distributions, token_logprobs
from polarity_lib.problems import world_named
from polarity_lib.layout import pack_rows

# Answers longer than the windows of six, prompts of different lengths.
BUNDLES = [("123>6:", ["1+2+3;4-1=3", "1*2*3", "3"]), ("1234567>9:", ["7+2"]), ("9>9:", ["9+9-9+9-9+9-9", "(9)"])]
PROBLEMS = world_named("countdown3").draw("train", 2, 0) + world_named("chain").draw("train", 2, 0)


def encoded(policy):
    return [(policy.encode_prompt(p), [policy.encode(a) for a in answers]) for p, answers in BUNDLES]


def by_own_logits(model, prompt, answer, temperature=1.0):
    """[T, V] log-probabilities as transformers gives them, nothing around it."""
    return (model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].float() / temperature).log_softmax(-1)


def mask_of(bundles):
    lengths = [len(a) for _, answers in bundles for a in answers]
    return (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).float()


def laid_out(policy, bundles):
    return pack(bundles) if policy.packs else one_row_each(bundles)


# ---------------------------------------------------------------- a dozen families


EVERY = [(family, attention) for family in FAMILIES for attention in ("sdpa", "eager")
         if (family, attention) != ("bloom", "sdpa")]  # which transformers does not offer


@pytest.mark.parametrize(("family", "attention"), EVERY)
def test_training_reads_the_models_own_logits(family, attention):
    policy = admit(tiny_of(family, attention), family)
    assert policy.packs == FAMILIES[family][2]
    bundles = encoded(policy)
    with torch.no_grad():
        ours_NT, entropies_NT, hidden_MC = token_logprobs(policy.model, laid_out(policy, bundles), mask_of(bundles), 0.7)
        logs_MV = token_distributions(policy.model, hidden_MC, 0.7)
        own = [(answer, by_own_logits(policy.model, prompt, answer, 0.7)) for prompt, answers in bundles for answer in answers]
    for i, (answer, own_TV) in enumerate(own):
        sampled_T = own_TV.gather(1, torch.tensor(answer)[:, None])[:, 0]
        assert torch.allclose(ours_NT[i, : len(answer)], sampled_T, atol=1e-3)
        assert torch.allclose(entropies_NT[i, : len(answer)], -(own_TV.exp() * own_TV).sum(-1), atol=1e-3)
    assert torch.allclose(logs_MV, torch.cat([own_TV for _, own_TV in own]), atol=1e-3)
    assert torch.cat([own_TV for _, own_TV in own]).std() > 0.3  # nats: there is something to get wrong


@pytest.mark.parametrize(("family", "attention"), EVERY)
def test_sampling_says_the_models_own_logits(family, attention):
    policy = admit(tiny_of(family, attention), family)
    rollouts = make_sampler(policy, temperature=0.7, max_new_tokens=14).sample(PROBLEMS, 3, "families")
    assert rollouts.mask_NT.sum(1).max() > 6  # past the windows
    for i, length in enumerate(rollouts.mask_NT.sum(1).int().tolist()):
        tokens = rollouts.tokens_NT[i, :length]
        with torch.no_grad():
            own_TV = by_own_logits(policy.model, rollouts.prompt_ids[i], tokens.tolist(), 0.7)
        assert torch.allclose(rollouts.logprobs_NT[i, :length], own_TV.gather(1, tokens[:, None])[:, 0], atol=1e-3)


@pytest.mark.parametrize("family", ["cohere", "gemma2", "gpt2", "opt"])
def test_gradients_are_those_of_the_own_logits(family):
    policy = admit(tiny_of(family), family)
    bundles, parameters = encoded(policy), list(policy.model.parameters())
    own = torch.cat([by_own_logits(policy.model, prompt, answer).gather(1, torch.tensor(answer)[:, None])[:, 0]
                     for prompt, answers in bundles for answer in answers])
    theirs = torch.autograd.grad(own.sum(), parameters)
    for chunk in (None, 5):  # a chunk is made again for its gradient
        ours_NT = token_logprobs(policy.model, laid_out(policy, bundles), mask_of(bundles), chunk=chunk)[0]
        for a, b in zip(torch.autograd.grad(ours_NT.sum(), parameters), theirs):
            assert torch.allclose(a, b, atol=1e-3, rtol=1e-3)
    assert "forward" not in policy.model.base_model.__dict__  # nothing is left behind


def test_a_window_is_why_some_do_not_pack():
    windowed = tiny_of("mistral, window of 6")
    assert packing_gap(windowed, check_texts(windowed), pack) > 0.1  # nats that packing would have been wrong by
    wide = admit(tiny_of("mistral, window of 6", sliding_window=400), "wide")
    assert not wide.packs  # and texts shorter than the window would not have shown it
    assert admit(tiny_of("mistral, window of 6", sliding_window=None), "no window").packs


def test_a_row_each_by_hand():
    packed = one_row_each([([5, 6], [[7, 8], [9]])], pad=0)
    assert packed.ids_SL.tolist() == [[5, 6, 7, 8], [5, 6, 9, 0]]
    assert packed.attend.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert packed.predictor_M.tolist() == [1, 2, 5]  # 9 is predicted by the second row's prompt
    assert packed.targets_M.tolist() == [7, 8, 9]


def test_the_loop_lays_rows_out_either_way(policy):
    rollouts = make_sampler(policy).sample(PROBLEMS, 3, "either way")
    rows = torch.ones(len(rollouts), dtype=torch.bool)
    rows[4] = False
    ways = (replace(policy, packs=packs) for packs in (True, False))
    packed, alone = (token_logprobs(way.model, pack_rows(rollouts, rows, way), rollouts.mask_NT[rows])[0] for way in ways)
    assert torch.allclose(packed, alone, atol=1e-5)


# ---------------------------------------------------------------- beginning and end of text


@pytest.mark.parametrize("where", ["config", "generation"])
def test_any_declared_end_stops_an_answer(where):
    policy = tiny_of("llama")
    end, other = policy.tokenizer.eos_token_id, policy.encode(";")[0]
    assert policy.ends == (end,)
    if where == "config":
        policy.model.config.eos_token_id = [end, other]
    else:
        policy.model.generation_config = GenerationConfig(eos_token_id=[other])
    assert policy.ends == (end, other)
    rollouts = make_sampler(policy, max_new_tokens=30).sample(PROBLEMS, 16, "ends")
    lasts = [rollouts.tokens_NT[i, n - 1].item() for i, n in enumerate(rollouts.mask_NT.sum(1).int().tolist())]
    assert {end, other} <= set(lasts)
    for last, finished, text in zip(lasts, rollouts.finished_N.tolist(), rollouts.texts):
        assert finished == (last in (end, other)) or not finished
        assert ";" not in text  # an end is no part of the answer, and nothing stands behind it


def test_the_beginning_of_text_stands_before_a_prompt_where_the_tokenizer_puts_it():
    plain = build_policy("smoke", 0)
    assert plain.encode_prompt("1+2") == plain.encode("1+2")  # ours has none
    tokenizer = build_tokenizer()
    tokenizer.bos_token = "?"
    begin = tokenizer.bos_token_id
    declared = Policy(plain.model, tokenizer)
    assert declared.encode_prompt("1+2") == plain.encode("1+2")  # declared, but not put in front of what is read
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="? $A <eos>", special_tokens=[("?", begin), ("<eos>", tokenizer.eos_token_id)])
    assert declared.encode_prompt("1+2") == [begin, *plain.encode("1+2")]  # and no end behind a prompt
    assert declared.encode_prompt("?1+2") == [begin, *plain.encode("1+2")]  # a template wrote it already
    rollouts = make_sampler(declared).sample(PROBLEMS, 2, "begin")
    assert all(ids[0] == begin for ids in rollouts.prompt_ids)


# ---------------------------------------------------------------- from disk


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_a_saved_model_comes_back_and_means_the_same(family, tmp_path):
    made = tiny_of(family, "eager")
    made.save(tmp_path)
    loaded = load_policy(str(tmp_path), attention="eager")
    assert loaded.model.config._attn_implementation == "eager" and loaded.packs == FAMILIES[family][2]
    # Gemma 2 caps the scores of its attention, which sdpa would leave out.
    assert load_policy(str(tmp_path)).model.config._attn_implementation == (
        "eager" if family == "gemma2" else NAME if FAMILIES[family][2] else "sdpa")
    prompt, answer = made.encode("123>6:"), made.encode("1+2+3")
    assert torch.allclose(by_own_logits(made.model, prompt, answer), by_own_logits(loaded.model, prompt, answer), atol=1e-4)


def test_half_precision_takes_the_models_own_forward(policy, tmp_path):
    policy.save(tmp_path)
    assert isinstance(make_sampler(load_policy(str(tmp_path))), FastSampler)
    assert isinstance(make_sampler(load_policy(str(tmp_path), dtype=torch.bfloat16)), ModelSampler)


def test_a_tokenizer_without_padding_gets_some(policy):
    policy.tokenizer.pad_token = None
    assert admit(policy, "no pad").tokenizer.pad_token_id == policy.tokenizer.eos_token_id


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_a_merged_adapter_is_read_by_transformers(family, tmp_path):
    pytest.importorskip("peft")
    tiny_of(family, "eager").save(tmp_path / "base")
    policy = load_policy(str(tmp_path / "base"), lora_rank=4, attention="eager")
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in policy.model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.2)
    ids = torch.tensor([policy.encode("123>6:1+2+3")])
    with torch.no_grad():
        adapted = policy.model(ids).logits
        with policy.model.disable_adapter():
            assert (policy.model(ids).logits - adapted).abs().max() > 0.05
    save_merged(policy, tmp_path / "merged", method="nsr")
    with torch.no_grad():
        assert torch.allclose(policy.model(ids).logits, adapted, atol=1e-4)  # taken out of the weights again
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", attn_implementation="eager")
        assert torch.allclose(merged(ids).logits, adapted, atol=1e-4)
    assert "`nsr`" in (tmp_path / "merged" / "README.md").read_text()
    assert load_policy(str(tmp_path / "merged")).packs == policy.packs


def test_adapters_go_where_they_are_wanted(policy, tmp_path):
    pytest.importorskip("peft")
    policy.save(tmp_path)
    adapted = load_policy(str(tmp_path), lora_rank=2, lora_modules=["q_proj", "v_proj"])
    trained = [name for name, p in adapted.model.named_parameters() if p.requires_grad]
    assert trained and all("q_proj.lora" in name or "v_proj.lora" in name for name in trained)
    assert "no adapter can be put on" in refused(
        lambda: load_policy(str(tmp_path), lora_rank=2, lora_modules=["qq_proj"]))


# ---------------------------------------------------------------- refused in one line


def test_a_model_that_gives_other_numbers_is_refused(monkeypatch):
    policy = tiny_of("gemma")
    own = policy.model.forward

    def forward(*args, use_cache=None, **options):  # warmer as soon as it has a cache
        out = own(*args, use_cache=use_cache, **options)
        out.logits = out.logits / (2 if use_cache else 1)
        return out

    monkeypatch.setattr(policy.model, "forward", forward)
    line = refused(admit, policy, "two-faced")
    assert line.startswith("two-faced cannot be served: in sampling, log-probabilities differ")


def test_a_model_whose_numbers_are_not_finite_is_refused():
    policy = tiny_of("llama")
    torch.nn.init.constant_(policy.model.lm_head.weight, float("nan"))
    assert "up to nan nats" in refused(admit, policy, "lost")


def test_without_an_end_of_text_nothing_would_be_finished():
    policy = tiny_of("llama")
    policy.tokenizer.eos_token = None
    policy.model.config.eos_token_id = policy.model.generation_config.eos_token_id = None
    assert "declares no end of text" in refused(admit, policy, "endless")


def test_a_tokenizer_of_another_model_is_refused():
    policy = tiny_of("llama")
    policy.tokenizer.add_tokens(["alpha", "beta"])
    assert "its tokenizer has 28 tokens, its model 26" in refused(admit, policy, "mixed up")


def test_an_encoder_with_a_decoder_is_refused(tmp_path):
    config = T5Config(vocab_size=26, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    assert "no causal language model can be read there" in refused(load_policy, str(tmp_path))


def test_missing_weights_are_not_made_up(policy, tmp_path):
    from safetensors.torch import load_file, save_file

    policy.save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("model.layers.0.mlp.up_proj.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert "1 weights are missing or of another shape, model.layers.0.mlp.up_proj.weight among them" in refused(
        load_policy, str(tmp_path))


def test_weights_that_could_run_code_are_not_read(policy, tmp_path):
    policy.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(policy.model.state_dict(), tmp_path / "pytorch_model.bin")
    assert "no causal language model can be read there" in refused(load_policy, str(tmp_path))


def test_code_beside_a_checkpoint_is_not_run(policy, tmp_path):
    policy.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "stranger", "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    refused(load_policy, str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_nothing_there(tmp_path):
    assert str(tmp_path / "absent") in refused(load_policy, str(tmp_path / "absent"))


def test_a_prompt_and_its_answer_need_positions(policy):
    sampler = make_sampler(policy, max_new_tokens=510)
    assert "positions; this model has 512" in refused(sampler.sample, PROBLEMS, 1, "long")
