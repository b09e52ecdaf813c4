"""Many policies of one shape as one batched model: every parameter has a leading run axis.

Llama's forward pass by hand, with torch.bmm over runs and attention over (run x row), because one tiny policy
after another leaves a GPU idle: hundreds of small kernels each, and a round trip to the host for every token.
`stacking` trains with it. A run's own model reads and writes the same memory, so whatever asks that model alone
gets the same answers.

    R  runs    S, L  sequences of packed positions    M  response tokens, the most that a run has
    P  prompts   G  rollouts of each   N = P G   T  response positions   W  all numbers of one policy
    H, D  heads and their width   C = H D   V  vocabulary
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding, pad, scaled_dot_product_attention, silu

from polarity_lib.config import ConfigError
from polarity_lib.engines.fast_sampler import FastSampler
from polarity_lib.engines.torch_sampler import TorchSampler, pick_tokens
from polarity_lib.outside import first_line
from polarity_lib.policy import Packed, Policy
from polarity_lib.results import say

BUCKET = 16  # response positions by which the attended part of a cache grows, and after which it is asked whether any row lives
KEPT = 2  # shapes whose caches, and CUDA graphs, are kept from one batch to the next


@dataclass(frozen=True)
class Decode:
    """What one run asks of a sampler: answers to some prompts."""

    prompts: list[list[int]]
    group_size: int
    limit: int
    uniform_NT: Tensor | None  # None: the most likely token
    temperature: float
    top_p: float
    ends: tuple[int, ...]

    phase = 0

    @property
    def alike(self) -> tuple:
        """Requests with the same can be answered in lockstep."""
        return self.group_size, self.limit, self.uniform_NT is None, self.top_p, self.ends


@dataclass(frozen=True)
class StackedEngine:
    """What samples in the place of one policy of a stack: `ask` waits until all of them can be answered."""

    policy: Policy
    ask: Callable

    def sampler(self, **options) -> "StackedSampler":
        return StackedSampler(self.policy, **options)

    def close(self) -> None:
        """Nothing of its own is open."""


class StackedSampler(TorchSampler):
    """The sampler of one run in a stack. Batching, text and the record are those of every sampler."""

    def _decode(self, prompts, group_size, limit, uniform_NT):
        return self.policy.engine.ask(
            Decode(prompts, group_size, limit, uniform_NT, self.temperature, self.top_p, self.policy.ends))


def can_be_stacked(model) -> bool:
    """Whether a model is one that this forward pass knows: of the shape of the policies made here, nothing around it."""
    c = model.config
    return (FastSampler.supports(model) and c.model_type == "llama" and not hasattr(model, "peft_config")
            and not c.attention_bias and not c.tie_word_embeddings and c.num_attention_heads == c.num_key_value_heads
            and getattr(c, "head_dim", None) in (None, c.hidden_size // c.num_attention_heads))


class StackedModel:
    """R policies as one model."""

    def __init__(self, policies: list[Policy], device: str | torch.device):
        """The policies' own parameters become views of the stack's.

        Raises:
            ConfigError: a policy is not of the shape that this forward pass knows, or of another shape than the first.
        """
        models = [policy.model for policy in policies]
        shapes = [{name: tuple(p.shape) for name, p in model.named_parameters()} for model in models]
        if not all(map(can_be_stacked, models)):
            raise ConfigError("only Llama-shaped policies in float32, without adapters and tied embeddings, can be stacked.")
        if any(shape != shapes[0] for shape in shapes):
            raise ConfigError("policies of different shapes cannot be stacked.")
        c = models[0].config
        self.heads, self.head_dim, self.eps = c.num_attention_heads, c.hidden_size // c.num_attention_heads, c.rms_norm_eps
        self.padding = models[0].model.embed_tokens.padding_idx
        self.layers, self.device = c.num_hidden_layers, torch.device(device)
        self.shapes = shapes[0]
        self.sizes = [torch.Size(shape).numel() for shape in self.shapes.values()]
        flat_RW = torch.stack([torch.cat([p.detach().flatten() for p in model.parameters()]) for model in models])
        self.flat_RW = flat_RW.to(self.device).requires_grad_()
        for numbers_W, model in zip(self.flat_RW.detach(), models):
            for p, piece in zip(model.parameters(), numbers_W.split(self.sizes)):
                p.data = piece.view(p.shape)
        places = torch.arange(c.max_position_embeddings, device=self.device)[None]
        rotary = models[0].model.rotary_emb.to(self.device)
        self.cos_TD, self.sin_TD = (table[0] for table in rotary(self.flat_RW.detach(), places))
        self.graphs = self.device.type == "cuda"  # a decoding step is recorded once and replayed
        self._decoders: OrderedDict[tuple, Decoder] = OrderedDict()

    def weights(self, runs: list[int]) -> dict[str, Tensor]:
        """The named parameters of some runs, [R, ...]; gradients reach `flat_RW`."""
        flat_RW = self.flat_RW if len(runs) == len(self.flat_RW) else self.flat_RW[torch.tensor(runs, device=self.device)]
        pieces = flat_RW.split(self.sizes, dim=1)
        return {name: piece.view(len(runs), *shape) for (name, shape), piece in zip(self.shapes.items(), pieces)}

    def normed(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)

    @staticmethod
    def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin

    # --- training

    def hidden(self, w: dict[str, Tensor], packed: list[Packed]) -> Tensor:
        """[R, M, C] last hidden state at the position that predicts each response token of each run."""
        ids, positions, attend, predictors = laid_out(packed, self.device)
        R, S, L = ids.shape
        x = embedded(w["model.embed_tokens.weight"], ids.view(R, S * L), self.padding)
        cos, sin = (table[positions.view(R * S, L)][:, None] for table in (self.cos_TD, self.sin_TD))

        def by_head(flat):
            return flat.view(R * S, L, self.heads, self.head_dim).transpose(1, 2)

        for i in range(self.layers):
            def linear(values, name, i=i):
                return torch.bmm(values, w[f"model.layers.{i}.{name}.weight"].transpose(1, 2))

            def norm(values, name, i=i):
                return self.normed(values) * w[f"model.layers.{i}.{name}.weight"][:, None]

            entered = norm(x, "input_layernorm")
            q, k, v = (by_head(linear(entered, f"self_attn.{p}_proj")) for p in "qkv")
            seen = scaled_dot_product_attention(self.rotated(q, cos, sin), self.rotated(k, cos, sin), v, attn_mask=attend)
            x = x + linear(seen.transpose(1, 2).reshape(R, S * L, -1), "self_attn.o_proj")
            entered = norm(x, "post_attention_layernorm")
            inner = silu(linear(entered, "mlp.gate_proj")) * linear(entered, "mlp.up_proj")
            x = x + linear(inner, "mlp.down_proj")
        x = x.gather(1, predictors[..., None].expand(-1, -1, x.shape[-1]))
        return self.normed(x) * w["model.norm.weight"][:, None]

    def token_logprobs(self, runs: list[int], packed: list[Packed], temperatures: list[float]):
        """As `policy.token_logprobs`, for some runs at once.

        Returns:
            logprobs_RM with its graph, entropies_RM, hidden_RMC; behind a run's own tokens they hold anything.
        """
        w = self.weights(runs)
        hidden_RMC = self.hidden(w, packed)
        targets_RM = padded([p.targets_M for p in packed]).to(self.device)
        logits_RMV = torch.bmm(hidden_RMC, w["lm_head.weight"].transpose(1, 2))
        logs_RMV = (logits_RMV / torch.tensor(temperatures, device=self.device)[:, None, None]).log_softmax(-1)
        with torch.no_grad():
            entropies_RM = -(logs_RMV.exp() * logs_RMV).sum(-1)
        return logs_RMV.gather(2, targets_RM[..., None])[..., 0], entropies_RM, hidden_RMC

    # --- sampling

    @torch.no_grad()
    def decode(self, runs: list[int], asked: list[Decode]) -> list[tuple[Tensor, ...]]:
        """Answers to what some runs asked, all alike; each as `TorchSampler._decode` gives them."""
        longest = max(len(ids) for a in asked for ids in a.prompts)
        shape = len(runs), max(len(a.prompts) for a in asked), -(-longest // 8) * 8
        key = shape, asked[0].alike
        decoder = self._decoders.pop(key, None) or Decoder(self, *shape, asked[0])
        while len(self._decoders) >= KEPT:
            self._decoders.popitem(last=False)
        self._decoders[key] = decoder
        found = decoder.run(self.weights(runs), asked)
        rows = [len(a.prompts) * a.group_size for a in asked]
        return [tuple(part[r, :n] for part in found) for r, n in enumerate(rows)]


class Decoder:
    """Decodes R x N rows in lockstep. The prompt's keys and values exist once per group; every row has its own behind them.

    All that changes stands in tensors that stay where they are, so on a GPU a step is recorded once as a CUDA graph and
    replayed; nothing is read back before a bucket of positions is full.
    """

    def __init__(self, model: StackedModel, R: int, P: int, width: int, like: Decode):
        """For R runs with at most P prompts each, none longer than `width`, that ask alike."""
        G, T = like.group_size, like.limit
        self.model, self.top_p = model, like.top_p
        self.R, self.P, self.G, self.T, self.width, self.N = R, P, G, T, width, P * G
        H, D, device, layers = model.heads, model.head_dim, model.device, model.layers
        self.ends = torch.tensor(like.ends, device=device)
        room = -(-T // BUCKET) * BUCKET
        self.own = [[torch.zeros(R * P * H * G, room, D, device=device) for _ in "kv"] for _ in range(layers)]
        self.prompt = [[torch.zeros(R * P * H, width, D, device=device) for _ in "kv"] for _ in range(layers)]
        self.hidden = torch.zeros(R * P, 1, 1, width, device=device)  # -inf on the padding of prompts
        self.temperature_R = torch.ones(R, device=device)
        self.uniform_RNT = None if like.uniform_NT is None else torch.zeros(R, self.N, T, device=device)
        self.length_RP = torch.ones(R, P, dtype=torch.long, device=device)
        self.token_RN = torch.zeros(R, self.N, dtype=torch.long, device=device)
        self.tokens_RNT = torch.zeros(R, self.N, T, dtype=torch.long, device=device)
        self.logprobs_RNT, self.entropies_RNT = (torch.zeros(R, self.N, T, device=device) for _ in range(2))
        self.lengths_RN = torch.zeros(R, self.N, dtype=torch.long, device=device)
        self.alive_RN = torch.ones(R, self.N, dtype=torch.bool, device=device)
        self.t = torch.zeros(1, dtype=torch.long, device=device)  # the response token that is fed next
        self.everyone = torch.arange(R * self.N, device=device)
        self.group_of = self.everyone // G
        self.fused: dict[str, Tensor] = {}
        self.recorded: dict[int, torch.cuda.CUDAGraph] = {}
        self.uses = 0

    def run(self, w: dict[str, Tensor], asked: list[Decode]) -> tuple[Tensor, ...]:
        """tokens, logprobs, entropies [R, N, T], lengths, finished [R, N], on the CPU."""
        self._take(w)
        self._start(asked)
        for t in range(self.T - 1):
            if t and t % BUCKET == 0 and not self.alive_RN.any():
                break
            self._advance((t // BUCKET + 1) * BUCKET)
        self.uses += 1
        found = self.tokens_RNT, self.logprobs_RNT, self.entropies_RNT, self.lengths_RN, ~self.alive_RN
        return tuple(x.to("cpu", copy=True) for x in found)

    def _take(self, w: dict[str, Tensor]) -> None:
        """Copy the weights: projections joined, the norms' scales folded into them."""
        new = {"embed": w["model.embed_tokens.weight"].flatten(0, 1),
               "head": (w["lm_head.weight"] * w["model.norm.weight"][:, None]).transpose(1, 2)}
        for i in range(self.model.layers):
            part = {name: w[f"model.layers.{i}.{name}.weight"] for name in (
                "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")}
            qkv = torch.cat([part[f"self_attn.{p}_proj"] for p in "qkv"], 1) * part["input_layernorm"][:, None]
            gate_up = torch.cat([part["mlp.gate_proj"], part["mlp.up_proj"]], 1) * part["post_attention_layernorm"][:, None]
            new |= {f"{i}.qkv": qkv.transpose(1, 2), f"{i}.out": part["self_attn.o_proj"].transpose(1, 2),
                    f"{i}.gate_up": gate_up.transpose(1, 2), f"{i}.down": part["mlp.down_proj"].transpose(1, 2)}
        for name, values in new.items():
            if name in self.fused:
                self.fused[name].copy_(values)  # where a recorded step looks for them
            else:
                self.fused[name] = values.contiguous().clone()

    def _start(self, asked: list[Decode]) -> None:
        """Run the prompts and draw the first token of every row."""
        R, P, G, width, m = self.R, self.P, self.G, self.width, self.model
        ids_RPL = torch.zeros(R, P, width, dtype=torch.long)
        length_RP, alive_RN = torch.ones(R, P, dtype=torch.long), torch.zeros(R, self.N, dtype=torch.bool)
        uniform_RNT = torch.zeros(R, self.N, self.T)
        for r, a in enumerate(asked):
            for p, ids in enumerate(a.prompts):
                ids_RPL[r, p, : len(ids)], length_RP[r, p] = torch.tensor(ids), len(ids)
            alive_RN[r, : len(a.prompts) * G] = True
            if a.uniform_NT is not None:
                uniform_RNT[r, : len(a.uniform_NT)] = a.uniform_NT
        if self.uniform_RNT is not None:
            self.uniform_RNT.copy_(uniform_RNT)
        self.temperature_R.copy_(torch.tensor([a.temperature for a in asked]))
        self.length_RP.copy_(length_RP)
        self.alive_RN.copy_(alive_RN)
        padding = torch.arange(width) >= length_RP.view(-1, 1)
        self.hidden.copy_(torch.zeros(R * P, width).masked_fill(padding, float("-inf")).view(R * P, 1, 1, width))
        self.lengths_RN.fill_(self.T)
        self.tokens_RNT.zero_()
        self.t.zero_()
        for cache in (cache for layer in self.own for cache in layer):
            cache.zero_()  # what lies behind a row's last token is masked, but nothing times NaN is still NaN

        x = self.fused["embed"][ids_RPL.to(m.device).flatten(1) + self._vocabularies()]  # [R, P L, C]
        cos, sin = m.cos_TD[:width], m.sin_TD[:width]
        for i in range(m.layers):
            q, k, v = (torch.bmm(m.normed(x), self.fused[f"{i}.qkv"])
                       .view(R * P, width, 3, m.heads, m.head_dim).permute(2, 0, 3, 1, 4))  # each [R P, H, L, D]
            q, k = m.rotated(q, cos, sin), m.rotated(k, cos, sin)
            for kept, values in zip(self.prompt[i], (k, v)):
                kept.copy_(values.flatten(0, 1))
            # Padding is on the right: the causal mask hides it from every real token.
            seen = scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + torch.bmm(seen.transpose(1, 2).reshape(R, P * width, -1), self.fused[f"{i}.out"])
            x = self._fed_forward(x, i)
        last = (self.length_RP - 1 + torch.arange(P, device=m.device) * width)[..., None].expand(-1, -1, x.shape[-1])
        self._pick(torch.bmm(m.normed(x.gather(1, last)), self.fused["head"]), self.group_of, self.t)

    def _vocabularies(self) -> Tensor:
        """[R, 1] where each run's part of the joined embeddings begins."""
        size = len(self.fused["embed"]) // self.R
        return (torch.arange(self.R, device=self.model.device) * size)[:, None]

    def _fed_forward(self, x: Tensor, i: int) -> Tensor:
        gate, up = torch.bmm(self.model.normed(x), self.fused[f"{i}.gate_up"]).chunk(2, -1)
        return x + torch.bmm(silu(gate) * up, self.fused[f"{i}.down"])

    def _advance(self, end: int) -> None:
        """One more token for every row: recorded, replayed, or simply computed."""
        if not self.model.graphs or not self.uses:  # the first use warms up what a recording must find ready
            return self._step(end)
        if end not in self.recorded:
            try:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    self._step(end)
                self.recorded[end] = graph
            except RuntimeError as error:
                say(f"stacked runs: steps are not recorded as CUDA graphs here ({first_line(error)})")
                self.model.graphs = False
                return self._step(end)
        self.recorded[end].replay()

    def _step(self, end: int) -> None:
        """Feed response token t of every row and draw token t + 1; only the first `end` own positions are looked at."""
        R, N, P, G, m = self.R, self.N, self.P, self.G, self.model
        x = self.fused["embed"][self.token_RN + self._vocabularies()]  # [R, N, C]
        place_RP = self.length_RP + self.t
        cos, sin = (table[place_RP].view(R, P, 1, 1, -1) for table in (m.cos_TD, m.sin_TD))
        ahead = torch.zeros(end, device=m.device).masked_fill(torch.arange(end, device=m.device) > self.t, float("-inf"))
        for i in range(m.layers):
            q, k, v = (torch.bmm(m.normed(x), self.fused[f"{i}.qkv"])
                       .view(R, P, G, 3, m.heads, m.head_dim).permute(3, 0, 1, 4, 2, 5))  # each [R, P, H, G, D]
            q, k = m.rotated(q, cos, sin) * m.head_dim**-0.5, m.rotated(k, cos, sin)
            for cache, values in zip(self.own[i], (k, v)):
                cache.index_copy_(1, self.t, values.reshape(-1, 1, m.head_dim))
            seen = self._attend(q.reshape(R * P * m.heads, G, m.head_dim), i, end, ahead)
            seen = seen.view(R, P, m.heads, G, m.head_dim).transpose(2, 3).reshape(R, N, -1)
            x = self._fed_forward(x + torch.bmm(seen, self.fused[f"{i}.out"]), i)
        logits_RNV = torch.bmm(m.normed(x), self.fused["head"])
        self.t.add_(1)
        self._pick(logits_RNV, self.everyone, self.t)

    def _attend(self, q: Tensor, i: int, end: int, ahead: Tensor) -> Tensor:
        """[R P H, G, D] attention of one new token per row over its group's prompt and its own tokens, in one softmax."""
        (prompt_k, prompt_v), (own_k, own_v) = self.prompt[i], (cache[:, :end] for cache in self.own[i])
        to_prompt = torch.bmm(q, prompt_k.transpose(1, 2))  # [R P H, G, width]
        to_prompt = (to_prompt.view(self.R * self.P, -1, self.G, self.width) + self.hidden).view_as(to_prompt)
        to_own = torch.bmm(q.reshape(-1, 1, q.shape[-1]), own_k.transpose(1, 2)).view(len(q), self.G, end) + ahead
        shares = torch.cat([to_prompt, to_own], -1).softmax(-1)
        of_prompt, of_own = shares[..., : self.width], shares[..., self.width :].reshape(-1, 1, end)
        return torch.bmm(of_prompt, prompt_v) + torch.bmm(of_own, own_v).view_as(q)

    def _pick(self, logits_RUV: Tensor, where_N: Tensor, t: Tensor) -> None:
        """Draw response token t of every row and note it."""
        uniform = None if self.uniform_RNT is None else self.uniform_RNT.index_select(2, t).flatten()
        each = self.temperature_R.repeat_interleave(logits_RUV.shape[1], output_size=logits_RUV.shape[:2].numel())[:, None]
        drawn = (x.view(self.R, self.N) for x in pick_tokens(logits_RUV.flatten(0, 1), where_N, uniform, each, self.top_p))
        for kept, values in zip((self.tokens_RNT, self.logprobs_RNT, self.entropies_RNT), drawn):
            kept.index_copy_(2, t, values[..., None].to(kept.dtype))
        self.token_RN.copy_(self.tokens_RNT.index_select(2, t)[..., 0])
        ended = self.alive_RN & (self.token_RN[..., None] == self.ends).any(-1)
        self.lengths_RN.copy_(torch.where(ended, t + 1, self.lengths_RN))
        self.alive_RN.logical_and_(~ended)


def embedded(table_RVC: Tensor, ids_RL: Tensor, padding: int | None) -> Tensor:
    """[R, L, C] each run's ids in its own table. As in transformers, padding's row never learns, though it may be sampled."""
    R, V, C = table_RVC.shape
    first_R1 = (torch.arange(R, device=ids_RL.device) * V)[:, None]
    x_RLC = embedding(ids_RL + first_R1, table_RVC.reshape(R * V, C))
    return x_RLC if padding is None else torch.where((ids_RL == padding)[..., None], x_RLC.detach(), x_RLC)


def padded(parts: list[Tensor]) -> Tensor:
    """[R, M] lists of different lengths as one tensor, zeros behind the shorter."""
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)


def laid_out(packed: list[Packed], device) -> tuple[Tensor, ...]:
    """Packed sequences of some runs at one size: ids and positions [R, S, L], attend [R S, 1, L, L], predictors [R, M].

    A position that is only padding sees itself, so that no softmax is empty.
    """
    S, L = (max(p.ids_SL.shape[axis] for p in packed) for axis in (0, 1))

    def widened(x: Tensor, *sizes: int) -> Tensor:
        return pad(x, [n for have, want in zip(reversed(x.shape), reversed(sizes)) for n in (0, want - have)])

    ids = torch.stack([widened(p.ids_SL, S, L) for p in packed])
    positions = torch.stack([widened(p.positions_SL, S, L) for p in packed])
    attend = torch.stack([widened(p.attend[:, 0], S, L, L) for p in packed]).flatten(0, 1)[:, None]
    # A flat index counts sequences of its own run's length.
    predictors = [p.predictor_M.div(n, rounding_mode="floor") * L + p.predictor_M % n
                  for p, n in ((p, p.ids_SL.shape[1]) for p in packed)]
    alone = torch.eye(L, dtype=torch.bool, device=device)
    return ids.to(device), positions.to(device), attend.to(device) | alone, padded(predictors).to(device)
