"""Sampling for small Llama-, Qwen2- and Qwen3-shaped policies: a throw-away decoder with a preallocated cache."""

import torch
from torch import Tensor

from polarity_lib.engines.torch_sampler import TorchSampler
from polarity_lib.policy import Policy, plain_model

FAMILIES = ("llama", "qwen2", "qwen3")
MOST = 30e6  # parameters: copying a larger policy before every batch costs more than it brings


class FastSampler(TorchSampler):
    """Sampling with a throw-away decoder copied from a policy of Llama's shape.

    Its forward pass with fused projections, the norms' scales folded into them, an adapter's product added to the
    weights beneath it. Make a new one after every update; the copy takes well under a millisecond for a tiny policy.
    """

    @torch.no_grad()
    def __init__(self, policy: Policy, **options):
        super().__init__(policy, **options)
        model = plain_model(policy.model)
        c = model.config
        self.heads, self.eps = c.num_attention_heads, c.rms_norm_eps
        self.kept_heads = c.num_key_value_heads  # of keys and values; several heads of queries may share one
        self.head_dim = getattr(c, "head_dim", None) or c.hidden_size // self.heads
        self.embed = weight_of(model.model.embed_tokens).detach()
        self.layers = [self._fuse(layer) for layer in model.model.layers]
        self.head = (weight_of(model.lm_head) * model.model.norm.weight).t().contiguous()
        self.rotary = model.model.rotary_emb

    @staticmethod
    def supports(model) -> bool:
        if not all(map(is_plain_lora, getattr(model, "peft_config", {}).values())):  # the copy would leave something out
            return False
        model = plain_model(model)
        c = model.config
        if model.dtype != torch.float32:  # with fewer bits its sums drift further than the model's own forward
            return False
        return (c.model_type in FAMILIES and c.hidden_act == "silu" and not getattr(c, "mlp_bias", False)
                and set(getattr(c, "layer_types", None) or ["full_attention"]) == {"full_attention"}
                and (getattr(c, "rope_parameters", None) or {}).get("rope_type", "default") == "default"
                and model.num_parameters() <= MOST)

    @staticmethod
    def _fuse(layer):
        """Weights and biases of a layer; a bias that is not there is None."""
        a, m = layer.self_attn, layer.mlp
        projections = a.q_proj, a.k_proj, a.v_proj
        qkv = torch.cat([weight_of(p) for p in projections]) * layer.input_layernorm.weight
        gate_up = torch.cat([weight_of(m.gate_proj), weight_of(m.up_proj)]) * layer.post_attention_layernorm.weight
        weights = tuple(w.detach().t().contiguous() for w in (qkv, weight_of(a.o_proj), gate_up, weight_of(m.down_proj)))
        bias = torch.cat([p.bias for p in projections]).detach() if a.q_proj.bias is not None else None
        norms = (a.q_norm.weight.detach(), a.k_norm.weight.detach()) if hasattr(a, "q_norm") else None
        return *weights, bias, None if a.o_proj.bias is None else a.o_proj.bias.detach(), norms

    def _normed(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)

    def _feed_forward(self, x, gate_up, down):
        gate, up = (self._normed(x) @ gate_up).chunk(2, -1)
        return x + (torch.nn.functional.silu(gate) * up) @ down

    def _heads_of(self, x, qkv, bias, norms):
        """Queries, keys and values of some positions: [..., heads, D], with as many heads as each has."""
        made = self._normed(x) @ qkv
        if bias is not None:
            made = made + bias
        kept, D = self.kept_heads, self.head_dim
        q, k, v = (part.unflatten(-1, (-1, D)) for part in made.split([self.heads * D, kept * D, kept * D], -1))
        return (self._normed(q) * norms[0], self._normed(k) * norms[1], v) if norms else (q, k, v)

    @staticmethod
    def _rotate(x, cos, sin):
        half = x.shape[-1] // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin

    def _start(self, prompts, N, limit):
        """Run the P prompts; their keys and values become the first rows of the cache."""
        P, width, device = len(prompts), max(map(len, prompts)), self.embed.device
        self._length_U = torch.tensor([len(p) for p in prompts], device=device)
        ids = torch.tensor([p + [0] * (width - len(p)) for p in prompts], device=device)
        self._prompt_width = width
        shape = (len(self.layers), width + limit, N, self.kept_heads, self.head_dim)
        self._K, self._V = (torch.empty(shape, device=device, dtype=self.embed.dtype) for _ in range(2))
        padding = torch.arange(width, device=device)[None] >= self._length_U[:, None]
        self._hidden_UL = torch.zeros(P, width, device=device).masked_fill(padding, float("-inf")) if padding.any() else None
        x = self.embed[ids]
        cos, sin = (r[:, :, None] for r in self.rotary(x, torch.arange(width, device=device)[None]))
        for layer, (qkv, out, gate_up, down, bias, out_bias, norms) in enumerate(self.layers):
            q, k, v = self._heads_of(x, qkv, bias, norms)
            q, k = self._rotate(q, cos, sin), self._rotate(k, cos, sin)
            self._K[layer, :width, :P], self._V[layer, :width, :P] = k.transpose(0, 1), v.transpose(0, 1)
            # Padding is on the right here: the causal mask hides it from every real token.
            seen = torch.nn.functional.scaled_dot_product_attention(
                *(t.transpose(1, 2) for t in (q, k, v)), is_causal=True, enable_gqa=self.heads != self.kept_heads)
            x = x + seen.transpose(1, 2).flatten(2) @ out
            if out_bias is not None:
                x = x + out_bias
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
        U = len(token_U)
        x = self.embed[token_U]
        cos, sin = (r[0, :, None] for r in self.rotary(x, (self._length_U + t)[None]))  # [U, 1, D]
        for layer, (qkv, out, gate_up, down, bias, out_bias, norms) in enumerate(self.layers):
            q, k, v = self._heads_of(x, qkv, bias, norms)
            self._K[layer, end, :U], self._V[layer, end, :U] = self._rotate(k, cos, sin), v
            x = x + self._attend(layer, end + 1, self._rotate(q, cos, sin) * self.head_dim**-0.5).flatten(1) @ out
            if out_bias is not None:
                x = x + out_bias
            x = self._feed_forward(x, gate_up, down)
        return self._normed(x) @ self.head

    def _attend(self, layer: int, end: int, q_UHD: Tensor) -> Tensor:
        """Attention of one new token per row over everything before it."""
        U, hidden_LU = len(q_UHD), None
        K_LUKD, V_LUKD = self._K[layer, :end, :U], self._V[layer, :end, :U]
        if self._hidden_UL is not None:
            hidden_LU = self._hidden_UL.t()
        if self.heads != self.kept_heads:
            return self._attend_shared(K_LUKD, V_LUKD, hidden_LU, q_UHD)
        scores_LUH = (K_LUKD * q_UHD).sum(-1)
        if hidden_LU is not None:
            scores_LUH[: self._prompt_width] += hidden_LU[:, :, None]
        return (scores_LUH.softmax(0)[..., None] * V_LUKD).sum(0)

    def _attend_shared(self, K_LUKD: Tensor, V_LUKD: Tensor, hidden_LU: Tensor | None, q_UHD: Tensor) -> Tensor:
        """The same where several heads of queries share one of keys and values: a small matrix product for each."""
        U, kept = q_UHD.shape[0], self.kept_heads
        keys, values = (x.flatten(1, 2).transpose(0, 1) for x in (K_LUKD, V_LUKD))  # [U*K, L, D]
        scores = torch.bmm(q_UHD.reshape(U * kept, -1, self.head_dim), keys.transpose(1, 2))
        if hidden_LU is not None:
            scores[..., : self._prompt_width] += hidden_LU.t().repeat_interleave(kept, 0)[:, None]
        return torch.bmm(scores.softmax(-1), values).view(U, self.heads, self.head_dim)


def is_plain_lora(adapter) -> bool:
    """Whether all that an adapter of peft does is to add a product to weights."""
    return adapter.peft_type == "LORA" and not adapter.use_dora and not adapter.modules_to_save and adapter.bias == "none"


def weight_of(layer: torch.nn.Module) -> Tensor:
    """A layer's weights; under LoRA, with what the adapters in force add."""
    if not hasattr(layer, "get_delta_weight"):
        return layer.weight
    weight = layer.base_layer.weight
    if layer.merged or layer.disable_adapters:
        return weight
    return weight + sum(layer.get_delta_weight(name) for name in layer.active_adapters)
