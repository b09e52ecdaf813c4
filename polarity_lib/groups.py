"""Long groups, laid out without padding and with each prompt once.

All tokens of a batch stand in one sequence: a prompt, its answers, the next prompt. Whatever looks at tokens one by one
(matrix products, norms) then computes no padding and no prompt twice. Attention alone has to know what belongs together:

    a token of a prompt sees the prompt up to itself,
    token t of an answer sees its prompt and tokens 0..t of that answer.

That costs T (P + T) products for an answer of T tokens behind P, where a mask over the whole group costs (P + T_1 + ... + T_G)².
A model is told by an attention function of that kind (transformers' AttentionInterface); without a layout it is plain sdpa.
"""

from dataclasses import dataclass

import torch
import transformers
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence

NAME = "sdpa_groups"  # as an attention implementation of transformers


@dataclass
class Groups:
    """Which places of one sequence of L tokens belong together. B prompts, padded to P; N answers, padded to T."""

    prompt_BP: Tensor  # place of each prompt token; padding repeats place 0
    answer_NT: Tensor
    seen_NK: Tensor  # what an answer can see: its prompt and itself, K = P + T
    mask_NTK: Tensor  # and which of it
    back_L: Tensor  # for each token of the sequence, its place among all prompt rows followed by all answer rows

    def to(self, device) -> "Groups":
        return Groups(**{name: value.to(device) for name, value in vars(self).items()})


def group(bundles: list[tuple[list[int], list[list[int]]]]) -> tuple[list[int], list[int], list[int], Groups]:
    """The L tokens in one sequence, their positions behind their own beginning, and what belongs together.

    Returns:
        ids, positions; for each token of an answer, the place that predicts it; the groups.
    """
    ids, positions, predictors, prompts, answers, owners = [], [], [], [], [], []
    for owner, (prompt, rows) in enumerate(bundles):
        prompts.append(torch.arange(len(ids), len(ids) + len(prompt)))
        ids += prompt
        positions += range(len(prompt))
        for row in rows:
            answers.append(torch.arange(len(ids), len(ids) + len(row)))
            owners.append(owner)
            predictors += [int(prompts[-1][-1]), *range(len(ids), len(ids) + len(row) - 1)]
            ids += row
            positions += range(len(prompt), len(prompt) + len(row))
    prompt_BP, answer_NT = pad_sequence(prompts, batch_first=True), pad_sequence(answers, batch_first=True)
    real_BP, real_NT = (torch.arange(places.shape[1])[None] < torch.tensor([len(x) for x in some])[:, None]
                        for places, some in ((prompt_BP, prompts), (answer_NT, answers)))
    T = answer_NT.shape[1]
    before_NTP = real_BP[owners][:, None].expand(-1, T, -1)
    own_NTT = torch.ones(T, T, dtype=torch.bool).tril().expand(len(answers), -1, -1)
    padded = torch.cat([prompt_BP[real_BP], answer_NT[real_NT]])
    back_L = torch.empty(len(ids), dtype=torch.long)
    back_L[padded] = torch.cat([real_BP.flatten(), real_NT.flatten()]).nonzero()[:, 0]
    return ids, positions, predictors, Groups(
        prompt_BP, answer_NT, torch.cat([prompt_BP[owners], answer_NT], 1), torch.cat([before_NTP, own_NTT], 2), back_L)


def attend(module, query, key, value, attention_mask, groups: Groups | None = None, scaling: float | None = None, **options):
    """Attention among groups, in the form transformers calls; without groups, what sdpa does.

    Args:
        query, key, value: [1, heads, L, D]; there may be fewer heads of keys and values.

    Returns:
        [1, L, heads, D], and None in place of the weights.
    """
    if groups is None:
        plain = transformers.integrations.sdpa_attention.sdpa_attention_forward
        return plain(module, query, key, value, attention_mask, scaling=scaling, **options)
    by_name = {"q": query, "k": key, "v": value}
    flat = {name: x[0].transpose(0, 1).flatten(1) for name, x in by_name.items()}
    heads, D = query.shape[1], query.shape[3]

    def rows(name: str, places: Tensor) -> Tensor:
        """[rows, heads, places, D] of a tensor whose rows are tokens."""
        return flat[name].index_select(0, places.flatten()).view(*places.shape, -1, D).transpose(1, 2)

    how = {"scale": scaling, "enable_gqa": key.shape[1] != heads}
    prompts = scaled_dot_product_attention(*(rows(name, groups.prompt_BP) for name in "qkv"), is_causal=True, **how)
    answers = scaled_dot_product_attention(rows("q", groups.answer_NT), rows("k", groups.seen_NK), rows("v", groups.seen_NK),
                                           attn_mask=groups.mask_NTK[:, None], **how)
    seen = torch.cat([x.transpose(1, 2).reshape(-1, heads * D) for x in (prompts, answers)])
    return seen.index_select(0, groups.back_L).view(1, -1, heads, D), None


def register() -> None:
    """Make the attention known to transformers under its name."""
    transformers.AttentionInterface.register(NAME, attend)
    transformers.AttentionMaskInterface.register(NAME, transformers.masking_utils.sdpa_mask)
