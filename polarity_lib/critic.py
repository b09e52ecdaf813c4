"""A small critic for methods that ask for `values`: how likely is this answer to end right?

It reads the policy's last hidden states and sends no gradient into them, so
adding a critic changes nothing about how the policy is trained.
"""

import torch
from torch import Tensor


class Critic(torch.nn.Module):
    """Two layers on hidden states: [M, C] -> [M] expected final reward."""

    def __init__(self, width: int, rate: float, seed: int):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(width, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=0.0)

    def forward(self, hidden_MC: Tensor) -> Tensor:
        return self.layers(hidden_MC.detach())[:, 0]

    def fit(self, hidden_MC: Tensor, returns_M: Tensor) -> float:
        """One squared-error step; returns the error before it."""
        error = (self(hidden_MC) - returns_M).square().mean()
        self.optimizer.zero_grad()
        error.backward()
        self.optimizer.step()
        return float(error.detach())

    def state(self) -> dict:
        return {"weights": self.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict) -> None:
        self.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
