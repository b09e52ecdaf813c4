"""Rollouts: the record every method starts from, and the samplers that make it.

A sampler is anything with

    sample(problems, rollouts_per_prompt, seed) -> Rollouts

Two live here. `FastSampler` is for tiny Llama-shaped policies on the device
at hand: it copies the weights into a throw-away decoder with a preallocated
cache. `ModelSampler` runs any causal model of transformers. Both turn the
same uniform numbers into the same tokens, and both compute each distinct
prefix once: the rollouts of a prompt start from one prefix, the prompt, and
only rows that have drawn different tokens become different rows of the model.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from polarity_lib.config import derive_seed
from polarity_lib.policy import Policy
from polarity_lib.problems import Problem, world_named
from polarity_lib.verification import Verdict


@dataclass(frozen=True)
class Rollouts:
    """N sampled answers, grouped by prompt.

    `problems` has one entry per row; rows of a group stand together.
    """

    problems: list[Problem]
    group_N: Tensor  # [N] which prompt a row belongs to, 0..P-1
    prompt_ids: list[list[int]]  # one per row
    tokens_NT: Tensor  # [N, T] response tokens, end-of-text included
    mask_NT: Tensor  # [N, T] 1.0 on response tokens
    logprobs_NT: Tensor  # [N, T] under the sampler at its temperature
    entropies_NT: Tensor  # [N, T] nats, of the full distribution at each position
    finished_N: Tensor  # [N] bool; False: cut off at the limit
    texts: list[str]
    verdicts: list[Verdict] = field(default_factory=list)
    drawn: int = 0  # rollouts sampled to obtain these (more than N if some were thrown away)
    max_new_tokens: int = 0
    extras: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def correct_N(self) -> Tensor:
        return torch.tensor([v.is_correct for v in self.verdicts])

    def but(self, **changes) -> "Rollouts":
        return replace(self, **changes)


def join(parts: list[Rollouts]) -> Rollouts:
    """Batches one after another; groups are numbered on, and what was drawn is added up."""
    longest = max(part.tokens_NT.shape[1] for part in parts)

    def stack(name):
        return torch.cat([torch.nn.functional.pad(getattr(p, name), (0, longest - p.tokens_NT.shape[1])) for p in parts])

    groups, first = [], 0
    for part in parts:
        groups.append(part.group_N + first)
        first += int(part.group_N.max()) + 1
    return Rollouts(
        problems=[x for p in parts for x in p.problems], group_N=torch.cat(groups),
        prompt_ids=[x for p in parts for x in p.prompt_ids],
        tokens_NT=stack("tokens_NT"), mask_NT=stack("mask_NT"), logprobs_NT=stack("logprobs_NT"),
        entropies_NT=stack("entropies_NT"), finished_N=torch.cat([p.finished_N for p in parts]),
        texts=[x for p in parts for x in p.texts], verdicts=[x for p in parts for x in p.verdicts],
        drawn=sum(p.drawn for p in parts), max_new_tokens=max(p.max_new_tokens for p in parts))


def choose_groups(rollouts: Rollouts, groups: list[int]) -> Rollouts:
    """Only the named groups, renumbered 0, 1, ...; `drawn` still counts what was thrown away.

    Raises:
        ValueError: no group is named; a batch cannot be empty.
    """
    if not groups:
        raise ValueError("a batch needs at least one group.")
    number = {group: i for i, group in enumerate(groups)}
    rows = [row for row, group in enumerate(rollouts.group_N.tolist()) if group in number]
    longest = max(1, int(rollouts.mask_NT[rows].sum(1).max()))
    picked = {name: getattr(rollouts, name)[rows][:, :longest]
              for name in ("tokens_NT", "mask_NT", "logprobs_NT", "entropies_NT")}
    listed = {name: [getattr(rollouts, name)[row] for row in rows] for name in ("problems", "prompt_ids", "texts")}
    verdicts = [rollouts.verdicts[row] for row in rows] if rollouts.verdicts else []
    return rollouts.but(**picked, **listed, verdicts=verdicts, finished_N=rollouts.finished_N[rows],
                        group_N=torch.tensor([number[g] for g in rollouts.group_N[rows].tolist()]))


class Sampler(Protocol):
    def sample(self, problems: list[Problem], rollouts_per_prompt: int, seed) -> Rollouts: ...


def pick_tokens(logits_UV: Tensor, where_N: Tensor, uniform_N: Tensor | None, temperature: float, top_p: float = 1.0):
    """Pick one token per row by inverting the cumulative distribution.

    One uniform number decides a row's token, so what a row samples depends
    on nothing but its own number and its prefix.

    Args:
        logits_UV: [U, V] one row per distinct prefix.
        where_N: [N] the prefix of each rollout.
        uniform_N: numbers in [0, 1), or None for the most likely token.

    Returns:
        token_N, logprob_N, entropy_N (nats, of the untruncated distribution).
    """
    logs_UV = (logits_UV if uniform_N is None else logits_UV / temperature).log_softmax(-1)
    probs_UV = logs_UV.exp()
    entropy_U = -(probs_UV * logs_UV.clamp_min(-1e9)).sum(-1)
    if uniform_N is None:
        token_N = logs_UV.argmax(-1)[where_N]
    else:
        ladder_UV = (probs_UV if top_p >= 1.0 else _nucleus(probs_UV, top_p)).cumsum(-1)
        # Scaling by the last rung absorbs rounding: the draw can never fall off the end.
        drawn_N = uniform_N * ladder_UV[:, -1][where_N]
        token_N = (ladder_UV[where_N] <= drawn_N[:, None]).sum(-1).clamp_max(logs_UV.shape[1] - 1)
    return token_N, logs_UV[where_N, token_N], entropy_U[where_N]


def _nucleus(probs_NV: Tensor, top_p: float) -> Tensor:
    """Zero all but the smallest set of likeliest tokens whose probabilities reach top_p."""
    ordered, index = probs_NV.sort(-1, descending=True)
    ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= top_p, 0.0)
    return torch.zeros_like(probs_NV).scatter(-1, index, ordered)


def uniforms(seed, problems: list[Problem], group_size: int, length: int) -> Tensor:
    """[P*G, T] uniform numbers; a problem's block depends on the seed and the problem alone."""
    blocks = [
        np.random.default_rng(derive_seed(seed, i, p.key)).random((group_size, length), dtype=np.float32)
        for i, p in enumerate(problems)
    ]
    return torch.from_numpy(np.concatenate(blocks))


class _Sampler:
    """What the samplers share: batching, text, the record."""

    def __init__(self, policy: Policy, temperature: float = 1.0, top_p: float = 1.0,
                 greedy: bool = False, max_new_tokens: int | None = None, rows: int = 1024):
        self.policy, self.temperature, self.top_p = policy, temperature, top_p
        self.greedy, self.max_new_tokens, self.rows = greedy, max_new_tokens, rows

    @torch.inference_mode()
    def sample(self, problems: list[Problem], rollouts_per_prompt: int, seed) -> Rollouts:
        """Draw `rollouts_per_prompt` answers to every problem.

        Args:
            seed: any label; the same label draws the same answers.
        """
        limit = self.max_new_tokens or max(world_named(p.world).max_new_tokens for p in problems)
        prompts = [self.policy.encode(p.prompt) for p in problems]
        uniform_NT = None if self.greedy else uniforms(seed, problems, rollouts_per_prompt, limit)
        per_call = max(1, self.rows // rollouts_per_prompt)
        parts = []
        for at in range(0, len(prompts), per_call):
            rows = slice(at * rollouts_per_prompt, (at + per_call) * rollouts_per_prompt)
            parts.append(self._decode(
                prompts[at : at + per_call], rollouts_per_prompt, limit,
                None if uniform_NT is None else uniform_NT[rows]))
        tokens_NT, logprobs_NT, entropies_NT, lengths_N, finished_N = (
            torch.cat([part[i] for part in parts]) for i in range(5))
        longest = max(1, int(lengths_N.max()))
        mask_NT = (torch.arange(longest)[None] < lengths_N[:, None]).float()
        tokens_NT = tokens_NT[:, :longest]
        return Rollouts(
            problems=[p for p in problems for _ in range(rollouts_per_prompt)],
            group_N=torch.arange(len(problems)).repeat_interleave(rollouts_per_prompt),
            prompt_ids=[ids for ids in prompts for _ in range(rollouts_per_prompt)],
            tokens_NT=tokens_NT, mask_NT=mask_NT,
            logprobs_NT=logprobs_NT[:, :longest] * mask_NT,
            entropies_NT=entropies_NT[:, :longest] * mask_NT,
            finished_N=finished_N,
            texts=self._texts(tokens_NT, lengths_N),
            drawn=len(tokens_NT), max_new_tokens=limit,
        )

    def _texts(self, tokens_NT: Tensor, lengths_N: Tensor) -> list[str]:
        rows = [row[:n] for row, n in zip(tokens_NT.tolist(), lengths_N.tolist())]
        return self.policy.tokenizer.batch_decode(rows, skip_special_tokens=True)

    def _decode(self, prompts: list[list[int]], group_size: int, limit: int, uniform_NT: Tensor | None):
        """Sample all rows of some prompts; every distinct prefix runs through the model once."""
        eos = self.policy.tokenizer.eos_token_id
        N, device = len(prompts) * group_size, self.policy.device
        tokens_NT = torch.zeros(N, limit, dtype=torch.long)
        logprobs_NT, entropies_NT = torch.zeros(N, limit), torch.zeros(N, limit)
        lengths_N, alive_N = torch.full((N,), limit), torch.ones(N, dtype=torch.bool)
        logits_UV = self._start(prompts, N, limit)
        where_N = torch.arange(len(prompts)).repeat_interleave(group_size)
        for t in range(limit):
            uniform_N = None if uniform_NT is None else uniform_NT[:, t].to(device)
            token_N, logprob_N, entropy_N = (
                x.cpu() for x in pick_tokens(logits_UV.float(), where_N.to(device), uniform_N, self.temperature, self.top_p))
            tokens_NT[:, t], logprobs_NT[:, t], entropies_NT[:, t] = token_N, logprob_N, entropy_N
            ends_N = alive_N & (token_N == eos)
            lengths_N[ends_N] = t + 1
            alive_N &= ~ends_N
            if t + 1 == limit or not alive_N.any():
                break
            parents_U, token_U, where_N = next_prefixes(where_N, token_N, alive_N, len(logits_UV))
            logits_UV = self._advance(t, parents_U, token_U.to(device))
        return tokens_NT, logprobs_NT, entropies_NT, lengths_N, ~alive_N


def next_prefixes(where_N: Tensor, token_N: Tensor, alive_N: Tensor, rows: int):
    """The distinct prefixes after one more token.

    Args:
        where_N: [N] the model row that holds each rollout's prefix; `rows` of them.

    Returns:
        parents_U: [U] which old row each new row continues, or None if the rows can stay
            where they are: none has branched and few have ended, so moving is not worth it.
        token_U: [U] the token each row is fed.
        where_N: [N] the row of each rollout from now on (that of an ended one is junk).
    """
    vocabulary = int(token_N.max()) + 1
    pairs, place = torch.unique((where_N * vocabulary + token_N)[alive_N], return_inverse=True)
    parents_U, token_U = pairs // vocabulary, pairs % vocabulary
    branched = bool((parents_U[1:] == parents_U[:-1]).any())
    if not branched and len(parents_U) > 0.7 * rows:
        stay_U = torch.zeros(rows, dtype=torch.long)
        stay_U[parents_U] = token_U
        return None, stay_U, where_N
    moved_N = torch.zeros_like(where_N)
    moved_N[alive_N] = place
    return parents_U, token_U, moved_N


class ModelSampler(_Sampler):
    """Sampling with any causal model of transformers, on its own growing cache."""

    def _start(self, prompts, N, limit):
        width, pad = max(map(len, prompts)), self.policy.tokenizer.pad_token_id or 0
        # Padding stands on the left here, so that all rows take their next token at one position.
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts]).to(self.policy.device)
        self._seen = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts]).to(ids.device)
        self._cache = None
        return self._forward(ids)

    def _forward(self, ids):
        positions = (self._seen.cumsum(1) - 1).clamp_min(0)[:, -ids.shape[1]:]
        out = self.policy.model(
            input_ids=ids, attention_mask=self._seen, position_ids=positions,
            past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        self._cache = out.past_key_values
        return out.logits[:, -1]

    def _advance(self, t, parents_U, token_U):
        if parents_U is not None:
            parents_U = parents_U.to(token_U.device)
            self._cache.reorder_cache(parents_U)
            self._seen = self._seen[parents_U]
        self._seen = torch.cat([self._seen, torch.ones_like(token_U)[:, None]], 1)
        return self._forward(token_U[:, None])


class FastSampler(_Sampler):
    """Sampling with a throw-away decoder copied from a Llama-shaped policy.

    Llama's forward pass with fused projections and the norms' scales folded
    into them. Make a new one after every update; the copy takes well under a
    millisecond for a tiny policy.
    """

    @torch.no_grad()
    def __init__(self, policy: Policy, **options):
        super().__init__(policy, **options)
        model, c = policy.model, policy.model.config
        self.heads, self.eps, self.width = c.num_attention_heads, c.rms_norm_eps, c.hidden_size
        self.head_dim = c.hidden_size // self.heads
        self.embed = model.model.embed_tokens.weight.detach()
        self.layers = [self._fuse(layer) for layer in model.model.layers]
        self.head = (model.lm_head.weight * model.model.norm.weight).t().contiguous()
        self.rotary = model.model.rotary_emb

    @staticmethod
    def supports(model) -> bool:
        c = model.config
        if hasattr(model, "peft_config"):  # the copy would leave the adapter out
            return False
        return (c.model_type == "llama" and c.num_attention_heads == c.num_key_value_heads
                and not c.attention_bias and not c.mlp_bias and c.hidden_act == "silu"
                and (getattr(c, "rope_parameters", None) or {}).get("rope_type", "default") == "default")

    @staticmethod
    def _fuse(layer):
        a, m = layer.self_attn, layer.mlp
        qkv = torch.cat([a.q_proj.weight, a.k_proj.weight, a.v_proj.weight]) * layer.input_layernorm.weight
        gate_up = torch.cat([m.gate_proj.weight, m.up_proj.weight]) * layer.post_attention_layernorm.weight
        return tuple(w.detach().t().contiguous() for w in (qkv, a.o_proj.weight, gate_up, m.down_proj.weight))

    def _normed(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)

    def _feed_forward(self, x, gate_up, down):
        gate, up = (self._normed(x) @ gate_up).chunk(2, -1)
        return x + (torch.nn.functional.silu(gate) * up) @ down

    @staticmethod
    def _rotate(x, cos, sin):
        half = x.shape[-1] // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin

    def _start(self, prompts, N, limit):
        """Run the P prompts; their keys and values become the first rows of the cache."""
        P, width, device, H, D = len(prompts), max(map(len, prompts)), self.embed.device, self.heads, self.head_dim
        self._length_U = torch.tensor([len(p) for p in prompts], device=device)
        ids = torch.tensor([p + [0] * (width - len(p)) for p in prompts], device=device)
        self._prompt_width = width
        shape = (len(self.layers), width + limit, N, H, D)
        self._K, self._V = (torch.empty(shape, device=device, dtype=self.embed.dtype) for _ in range(2))
        padding = torch.arange(width, device=device)[None] >= self._length_U[:, None]
        self._hidden_UL = torch.zeros(P, width, device=device).masked_fill(padding, float("-inf")) if padding.any() else None
        x = self.embed[ids]
        cos, sin = (r[:, :, None] for r in self.rotary(x, torch.arange(width, device=device)[None]))
        for layer, (qkv, out, gate_up, down) in enumerate(self.layers):
            q, k, v = (self._normed(x) @ qkv).view(P, width, 3, H, D).unbind(2)
            q, k = self._rotate(q, cos, sin), self._rotate(k, cos, sin)
            self._K[layer, :width, :P], self._V[layer, :width, :P] = k.transpose(0, 1), v.transpose(0, 1)
            # Padding is on the right here: the causal mask hides it from every real token.
            seen = torch.nn.functional.scaled_dot_product_attention(
                *(t.transpose(1, 2) for t in (q, k, v)), is_causal=True)
            x = x + seen.transpose(1, 2).reshape(P, width, self.width) @ out
            x = self._feed_forward(x, gate_up, down)
        return self._normed(x[torch.arange(P, device=device), self._length_U - 1]) @ self.head

    def _move_rows(self, end: int, parents_U: Tensor) -> None:
        """New rows take over the cache of the rows they continue."""
        U = len(parents_U)
        self._K[:, :end, :U] = self._K[:, :end, parents_U]
        self._V[:, :end, :U] = self._V[:, :end, parents_U]
        self._length_U = self._length_U[parents_U]
        if self._hidden_UL is not None:
            self._hidden_UL = self._hidden_UL[parents_U]

    def _advance(self, t, parents_U, token_U):
        """Feed response token t of every row; returns the logits of token t + 1."""
        end = self._prompt_width + t  # where this token's keys and values go
        if parents_U is not None:
            self._move_rows(end, parents_U.to(token_U.device))
        U, H, D = len(token_U), self.heads, self.head_dim
        x = self.embed[token_U]
        cos, sin = (r[0, :, None] for r in self.rotary(x, (self._length_U + t)[None]))  # [U, 1, D]
        for layer, (qkv, out, gate_up, down) in enumerate(self.layers):
            q, k, v = (self._normed(x) @ qkv).view(U, 3, H, D).unbind(1)
            self._K[layer, end, :U], self._V[layer, end, :U] = self._rotate(k, cos, sin), v
            x = x + self._attend(layer, end + 1, self._rotate(q, cos, sin) * D**-0.5).view(U, H * D) @ out
            x = self._feed_forward(x, gate_up, down)
        return self._normed(x) @ self.head

    def _attend(self, layer: int, end: int, q_UHD: Tensor) -> Tensor:
        """Attention of one new token per row over everything before it."""
        U = len(q_UHD)
        scores_LUH = (self._K[layer, :end, :U] * q_UHD).sum(-1)
        if self._hidden_UL is not None:
            scores_LUH[: self._prompt_width] += self._hidden_UL.t()[:, :, None]
        return (scores_LUH.softmax(0)[..., None] * self._V[layer, :end, :U]).sum(0)


def make_sampler(policy: Policy, **options) -> _Sampler:
    """The fast sampler where the policy's shape allows it, else the general one."""
    return (FastSampler if FastSampler.supports(policy.model) else ModelSampler)(policy, **options)
