"""Sampling for small Llama-, Qwen2- and Qwen3-shaped policies: a throw-away decoder with a preallocated cache."""

import torch
from torch import Tensor

from polarity_lib.engines.cache import Cache
from polarity_lib.engines.prefixes import next_prefixes_in_place
from polarity_lib.engines.torch_sampler import TorchSampler
from polarity_lib.policy import Policy, plain_model

FAMILIES = ("llama", "qwen2", "qwen3")
MOST = 30e6  # parameters: copying a larger policy before every batch costs more than it brings


class FastSampler(TorchSampler):
    """Sampling with a throw-away decoder copied from a policy of Llama's shape.

    Its forward pass with fused projections, the norms' scales folded into them, an adapter's product added to the
    weights beneath it. Make a new one after every update; the copy takes well under a millisecond for a tiny policy.
    """

    _next_prefixes = staticmethod(next_prefixes_in_place)

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
        norms = None
        if hasattr(a, "q_norm"):  # one row of scales for every head
            norms = torch.cat([n.weight.detach().expand(p.out_features // len(n.weight), -1) for n, p in
                               ((a.q_norm, a.q_proj), (a.k_norm, a.k_proj))])
        return *weights, bias, None if a.o_proj.bias is None else a.o_proj.bias.detach(), norms

    def _normed(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)

    def _feed_forward(self, x, gate_up, down):
        gate, up = (self._normed(x) @ gate_up).chunk(2, -1)
        return x + (torch.nn.functional.silu(gate) * up) @ down

    def _heads_of(self, x, qkv, bias, norms, cos, sin):
        """Queries, keys and values of some positions, turned to their places: [..., heads, D], with as many heads as each has."""
        made = self._normed(x) @ qkv
        if bias is not None:
            made = made + bias
        heads = self.heads, self.kept_heads
        qk, v = made.unflatten(-1, (-1, self.head_dim)).split([sum(heads), heads[1]], -2)
        if norms is not None:
            qk = self._normed(qk) * norms
        half = self.head_dim // 2
        qk = qk * cos + torch.cat([-qk[..., half:], qk[..., :half]], -1) * sin
        return *qk.split(heads, -2), v

    def _start(self, prompts, N, limit):
        """Run the P prompts; their keys and values become the first rows of the cache."""
        P, width, device = len(prompts), max(map(len, prompts)), self.embed.device
        self._length_U = torch.tensor([len(p) for p in prompts], device=device)
        ids = torch.tensor([p + [0] * (width - len(p)) for p in prompts], device=device)
        padding = torch.arange(width, device=device)[None] >= self._length_U[:, None]
        hidden_PW = torch.zeros(P, width, device=device).masked_fill(padding, float("-inf")) if padding.any() else None
        shape = len(self.layers), P, width, self.kept_heads, self.head_dim
        self._cache = Cache(shape, hidden_PW, N, limit, device)
        x = self.embed[ids]
        cos, sin = (r[:, :, None] for r in self.rotary(x, torch.arange(width, device=device)[None]))
        for layer, (qkv, out, gate_up, down, bias, out_bias, norms) in enumerate(self.layers):
            q, k, v = self._heads_of(x, qkv, bias, norms, cos, sin)
            self._cache.prompts(layer, k, v)
            # Padding is on the right here: the causal mask hides it from every real token.
            seen = torch.nn.functional.scaled_dot_product_attention(
                *(t.transpose(1, 2) for t in (q, k, v)), is_causal=True, enable_gqa=self.heads != self.kept_heads)
            x = x + seen.transpose(1, 2).flatten(2) @ out
            if out_bias is not None:
                x = x + out_bias
            x = self._feed_forward(x, gate_up, down)
        return self._normed(x[torch.arange(P, device=device), self._length_U - 1]) @ self.head

    def _advance(self, t, parents_U, token_U):
        """Feed response token t of every row; returns the logits of token t + 1."""
        if parents_U is not None:
            parents_U = parents_U.to(token_U.device)
            self._cache.move(t, parents_U)
            self._length_U = self._length_U[parents_U]
        x = self.embed[token_U]
        cos, sin = (r[0, :, None] for r in self.rotary(x, (self._length_U + t)[None]))  # [U, 1, D]
        for layer, (qkv, out, gate_up, down, bias, out_bias, norms) in enumerate(self.layers):
            q, k, v = self._heads_of(x, qkv, bias, norms, cos, sin)
            x = x + self._cache.attend(layer, t, q * self.head_dim**-0.5, k, v) @ out
            if out_bias is not None:
                x = x + out_bias
            x = self._feed_forward(x, gate_up, down)
        return self._normed(x) @ self.head


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
