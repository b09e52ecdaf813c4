"""Sampling for tiny Llama-shaped policies: a throw-away decoder with a preallocated cache."""

import torch
from torch import Tensor

from polarity_lib.engines.torch_sampler import TorchSampler
from polarity_lib.policy import Policy


class FastSampler(TorchSampler):
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
        if model.dtype != torch.float32:  # with fewer bits its sums drift further than the model's own forward
            return False
        if getattr(c, "head_dim", None) not in (None, c.hidden_size // c.num_attention_heads):
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
