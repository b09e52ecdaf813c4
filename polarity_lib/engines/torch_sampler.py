"""Sampling with torch: any causal model of transformers, every distinct prefix computed once.

The rollouts of a prompt start from one prefix, the prompt, and only rows that have drawn
different tokens become different rows of the model. One uniform number decides one token, so
what a rollout draws depends on its own numbers and its prefix alone.
"""

import inspect

import numpy as np
import torch
from torch import Tensor

from polarity_lib.config import ConfigError, derive_seed
from polarity_lib.engines.prefixes import next_prefixes
from polarity_lib.policy import Policy, plain_model
from polarity_lib.problems import Problem, any_world
from polarity_lib.rollouts import Rollouts


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
    """[P*G, T] uniform numbers; a problem's block depends on the seed, the problem and its place in the batch."""
    blocks = [
        np.random.default_rng(derive_seed(seed, i, p.key)).random((group_size, length), dtype=np.float32)
        for i, p in enumerate(problems)
    ]
    return torch.from_numpy(np.concatenate(blocks))


class TorchSampler:
    """What the samplers share: batching, text, the record."""

    _next_prefixes = staticmethod(next_prefixes)

    def __init__(self, policy: Policy, temperature: float = 1.0, top_p: float = 1.0,
                 greedy: bool = False, max_new_tokens: int | None = None, rows: int | None = None):
        self.policy, self.temperature, self.top_p, self.greedy = policy, temperature, top_p, greedy
        self.max_new_tokens = max_new_tokens or policy.served.answer_tokens
        self.rows = rows or policy.served.rows

    @torch.inference_mode()
    def sample(self, problems: list[Problem], rollouts_per_prompt: int, seed) -> Rollouts:
        """Draw `rollouts_per_prompt` answers to every problem.

        Args:
            seed: any label; the same label draws the same answers.
        """
        limit = self.max_new_tokens or max(any_world(p.world).max_new_tokens for p in problems)
        prompts = [self.policy.encode_prompt(p.prompt) for p in problems]
        self._check_room(prompts, limit)
        tokens_NT, logprobs_NT, entropies_NT, lengths_N, finished_N = self._draw(
            problems, prompts, rollouts_per_prompt, limit, seed)
        longest = max(1, int(lengths_N.max()))
        mask_NT = (torch.arange(longest)[None] < lengths_N[:, None]).float()
        tokens_NT = tokens_NT[:, :longest] * mask_NT.long()  # behind the end of an answer nothing was drawn for it
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

    def _draw(self, problems: list[Problem], prompts: list[list[int]], group_size: int, limit: int, seed):
        """Tokens, their log-probabilities, entropies, lengths, and which answers ended; so many prompts at a time."""
        uniform_NT = None if self.greedy else uniforms(seed, problems, group_size, limit)
        per_call = max(1, self.rows // group_size)
        parts = []
        for at in range(0, len(prompts), per_call):
            rows = slice(at * group_size, (at + per_call) * group_size)
            parts.append(self._decode(
                prompts[at : at + per_call], group_size, limit, None if uniform_NT is None else uniform_NT[rows]))
        return (torch.cat([part[i] for part in parts]) for i in range(5))

    def _texts(self, tokens_NT: Tensor, lengths_N: Tensor) -> list[str]:
        """What was written, the end of text left out. Other special tokens stay: the verdict must see them."""
        ends = self.policy.ends
        rows = [row[:n] for row, n in zip(tokens_NT.tolist(), lengths_N.tolist())]
        return self.policy.tokenizer.batch_decode([row[:-1] if row and row[-1] in ends else row for row in rows])

    def _check_room(self, prompts: list[list[int]], limit: int) -> None:
        """ConfigError unless the model has positions for every prompt and its longest answer."""
        if not all(prompts):
            raise ConfigError("a prompt has no token, so nothing stands before its answer.")
        room = getattr(self.policy.model.config.get_text_config(), "max_position_embeddings", None)
        longest = max(map(len, prompts))
        if room and longest + limit > room:
            raise ConfigError(f"a prompt of {longest} tokens and {limit} tokens of answer need {longest + limit} positions; "
                              f"this model has {room}.")

    def _decode(self, prompts: list[list[int]], group_size: int, limit: int, uniform_NT: Tensor | None):
        """Sample all rows of some prompts; every distinct prefix runs through the model once."""
        ends = torch.tensor(self.policy.ends)
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
            ends_N = alive_N & torch.isin(token_N, ends)
            lengths_N[ends_N] = t + 1
            alive_N &= ~ends_N
            if t + 1 == limit or not alive_N.any():
                break
            parents_U, token_U, where_N = self._next_prefixes(where_N, token_N, alive_N, len(logits_UV))
            logits_UV = self._advance(t, parents_U, token_U.to(device))
        return tokens_NT, logprobs_NT, entropies_NT, lengths_N, ~alive_N


class ModelSampler(TorchSampler):
    """Sampling with any causal model of transformers, on its own growing cache."""

    def _start(self, prompts, N, limit):
        width, pad = max(map(len, prompts)), self.policy.tokenizer.pad_token_id or 0
        self._known = inspect.signature(plain_model(self.policy.model).forward).parameters
        # Padding stands on the left here, so that all rows take their next token at one position.
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts]).to(self.policy.device)
        self._seen = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts]).to(ids.device)
        self._cache = None
        return self._forward(ids)

    def _forward(self, ids):
        positions = (self._seen.cumsum(1) - 1).clamp_min(0)[:, -ids.shape[1]:]
        wanted = {"position_ids": positions, "logits_to_keep": 1}  # not every family knows both
        out = self.policy.model(
            input_ids=ids, attention_mask=self._seen, past_key_values=self._cache, use_cache=True,
            **{k: v for k, v in wanted.items() if k in self._known})
        self._cache = out.past_key_values
        return out.logits[:, -1]

    def _advance(self, t, parents_U, token_U):
        if parents_U is not None:
            parents_U = parents_U.to(token_U.device)
            self._cache.reorder_cache(parents_U)
            self._seen = self._seen[parents_U]
        self._seen = torch.cat([self._seen, torch.ones_like(token_U)[:, None]], 1)
        return self._forward(token_U[:, None])
