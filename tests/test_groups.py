"""Groups in one sequence: each prompt once, nothing padded, and the numbers of a row each."""

import pytest
import torch
from families import FAMILIES, tiny_of

from polarity_lib import groups, layout
from polarity_lib.engines import make_sampler
from polarity_lib.groups import group
from polarity_lib.loading import admit, load_policy
from polarity_lib.policy import one_row_each, pack_groups, token_logprobs
from polarity_lib.problems import world_named
from polarity_lib.layout import pack_rows

BUNDLES = [([5, 6, 7], [[8, 9], [10, 11, 12]]), ([13], [[14]])]
MASK_NT = torch.tensor([[1.0, 1, 0], [1, 1, 1], [1, 0, 0]])


def test_a_layout_by_hand():
    ids, positions, predictors, laid_out = group(BUNDLES)
    assert ids == list(range(5, 15))  # everything once, in order
    assert positions == [0, 1, 2, 3, 4, 3, 4, 5, 0, 1]
    assert predictors == [2, 3, 2, 5, 6, 8]  # both answers of the first prompt begin behind its last token
    assert laid_out.prompt_BP.tolist() == [[0, 1, 2], [8, 0, 0]]
    assert laid_out.answer_NT.tolist() == [[3, 4, 0], [5, 6, 7], [9, 0, 0]]
    assert laid_out.seen_NK.tolist() == [[0, 1, 2, 3, 4, 0], [0, 1, 2, 5, 6, 7], [8, 0, 0, 9, 0, 0]]
    # The first token of the last answer sees its prompt of one token, and itself.
    assert laid_out.mask_NTK[2, 0].tolist() == [True, False, False, True, False, False]
    assert laid_out.mask_NTK[1].int().tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]
    # Prompt rows are padded to 3 places, then come the answers' rows.
    assert laid_out.back_L.tolist() == [0, 1, 2, 6, 7, 9, 10, 11, 3, 12]


@pytest.mark.parametrize("family", [name for name, (_, _, packs) in FAMILIES.items() if packs])
def test_every_family_that_packs_gives_the_numbers_and_gradients_of_a_row_each(family):
    policy = admit(tiny_of(family), family)
    assert policy.groups
    found = {}
    for lay_out in (one_row_each, pack_groups):
        logprobs_NT, entropies_NT, _ = token_logprobs(policy.model, lay_out(BUNDLES), MASK_NT)
        found[lay_out] = logprobs_NT, entropies_NT, torch.autograd.grad(logprobs_NT.square().sum(), policy.parameters())
    a, b = found.values()
    assert torch.allclose(a[0], b[0], atol=1e-4) and torch.allclose(a[1], b[1], atol=1e-4)
    assert all(torch.allclose(x, y, atol=1e-2, rtol=1e-3) for x, y in zip(a[2], b[2]))


def test_the_loop_takes_groups_for_long_ones_alone(monkeypatch):
    policy = admit(tiny_of("qwen2"), "qwen2")
    rollouts = make_sampler(policy, max_new_tokens=12).sample(world_named("countdown3").draw("train", 3, 0), 4, "groups")
    rows = torch.arange(12) != 5
    assert pack_rows(rollouts, rows, policy).groups is None
    monkeypatch.setattr(layout, "LONG_BUNDLE", 20)
    packed = pack_rows(rollouts, rows, policy)
    length = sum(map(len, rollouts.prompt_ids[::4])) + int(rollouts.mask_NT[rows].sum())
    assert packed.ids_SL.shape == (1, length)
    logprobs_NT, _, _ = token_logprobs(policy.model, packed, rollouts.mask_NT[rows])
    assert torch.allclose(logprobs_NT, rollouts.logprobs_NT[rows], atol=1e-3)


def test_an_adapter_with_layers_made_again(tmp_path):
    tiny_of("llama").save(tmp_path)
    policy = load_policy(str(tmp_path), lora_rank=4)
    assert policy.groups
    for name, p in policy.model.named_parameters():
        if "lora_B" in name:
            p.data.normal_(std=0.1)
    slopes = []
    for lay_out in (one_row_each, pack_groups):
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
        with policy.for_gradients():
            logprobs_NT, _, _ = token_logprobs(policy.model, lay_out(BUNDLES), MASK_NT)
            slopes.append(torch.autograd.grad(logprobs_NT.sum(), policy.parameters()))
    assert all(torch.allclose(x, y, atol=1e-3, rtol=1e-3) for x, y in zip(*slopes))


def test_what_is_saved_knows_nothing_of_it(tmp_path):
    policy = admit(tiny_of("llama"), "llama")
    assert policy.model.config._attn_implementation == groups.NAME
    policy.save(tmp_path)
    assert groups.NAME not in (tmp_path / "config.json").read_text(encoding="utf-8")
