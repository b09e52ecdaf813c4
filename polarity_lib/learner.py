"""What a training step asks of a model: log-probabilities of sampled tokens, and a step of its weights.

All that costs time in an update stands here, so that `stacking` can do it for many runs at once.
"""

import torch
from torch import Tensor

from polarity_lib import diagnostics
from polarity_lib.policy import Packed, Policy, hidden_states, token_distributions, token_logprobs


class Learner:
    """One policy and its optimizer."""

    def __init__(self, policy: Policy, optimizer: torch.optim.Optimizer):
        self.policy, self.optimizer = policy, optimizer
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]

    @property
    def device(self) -> torch.device:
        """Where losses are computed."""
        return self.policy.device

    # --- what the policy says

    def hidden(self, packed: Packed) -> Tensor:
        """[M, C] as `policy.hidden_states`."""
        return hidden_states(self.policy.model, packed)

    def logprobs(self, packed: Packed, mask_NT: Tensor, temperature: float, keep_hidden: bool = False):
        """logprobs_NT, entropies_NT and hidden_MC as `policy.token_logprobs`; hidden_MC only where it is to be kept."""
        return token_logprobs(self.policy.model, packed, mask_NT, temperature)

    def distributions(self, hidden_MC: Tensor, temperature: float) -> Tensor:
        """[M, V] as `policy.token_distributions`."""
        return token_distributions(self.policy.model, hidden_MC, temperature)

    # --- how it is moved

    def begin(self) -> None:
        """Remember where the weights are before a batch's first step."""
        self.before = [p.detach().clone() for p in self.parameters]

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def step(self, limit: float) -> float:
        """One step along the gradient, cut to the length `limit`; returns its length before. No step if that is not finite."""
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, limit))
        if norm < float("inf"):  # NaN is not
            self.optimizer.step()
        return norm

    def moved(self, size: float | None = None) -> float:
        """How far the weights are from where they began; with a `size`, they are first put at that distance."""
        norm = diagnostics.update_norm(self.before, self.parameters)
        if size is not None and 0 < norm < float("inf"):
            with torch.no_grad():
                for p, b in zip(self.parameters, self.before):
                    p.copy_(b + (p - b) * (size / norm))
            norm = diagnostics.update_norm(self.before, self.parameters)
        return norm

    # --- what a checkpoint holds

    def state(self) -> dict:
        return {"model": self.policy.weights(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict) -> None:
        self.policy.take_weights(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
