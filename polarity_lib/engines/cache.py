"""Where a throw-away decoder keeps the keys and values of what came before, and how a new token attends to them.

Letters: P prompts of at most W tokens, U rows (distinct answers so far), t answer tokens before the new one; K heads of keys
and values of D numbers each, R heads of queries to each of them.
"""

import torch
from torch import Tensor


class Cache:
    """Every row has its prompt's keys and values beside its own, so one small matrix product per row and head reads them all.

    Args:
        shape: (layers, P, W, K, D)
        hidden_PW: minus infinity where a prompt is padded on the right, or None where none is.
        rows: the most there can be.
        limit: tokens that an answer can have.
    """

    def __init__(self, shape: tuple, hidden_PW: Tensor | None, rows: int, limit: int, device):
        layers, self.P, self.W, self.K, self.D = shape
        self._keys, self._values = (torch.empty(layers, rows, self.K, self.W + limit, self.D, device=device) for _ in range(2))
        self._hidden_UW = hidden_PW

    def prompts(self, layer: int, k_PWKD: Tensor, v_PWKD: Tensor) -> None:
        """The prompts become the first rows."""
        for kept, x in ((self._keys, k_PWKD), (self._values, v_PWKD)):
            kept[layer, : self.P, :, : self.W] = x.transpose(1, 2)

    def move(self, t: int, parents_U: Tensor) -> None:
        """Rows take over what they continue; one that continues itself costs nothing."""
        moving_M = (parents_U != torch.arange(len(parents_U), device=parents_U.device)).nonzero()[:, 0]
        for kept in (self._keys, self._values):
            kept[:, moving_M, :, : self.W + t] = kept[:, parents_U[moving_M], :, : self.W + t]
        if self._hidden_UW is not None:
            self._hidden_UW = self._hidden_UW[parents_U]

    def attend(self, layer: int, t: int, q_UHD: Tensor, k_UKD: Tensor, v_UKD: Tensor) -> Tensor:
        """Keep the new token's key and value; returns [U, H*D], what its query reads from everything up to it."""
        U, at = len(q_UHD), self.W + t
        self._keys[layer, :U, :, at], self._values[layer, :U, :, at] = k_UKD, v_UKD
        keys, values = (kept[layer, :U, :, : at + 1].flatten(0, 1) for kept in (self._keys, self._values))  # [U*K, L, D]
        scores = torch.bmm(q_UHD.view(U * self.K, -1, self.D), keys.transpose(1, 2))
        if self._hidden_UW is not None:
            scores.unflatten(0, (U, self.K))[..., : self.W] += self._hidden_UW[:, None, None]
        return torch.bmm(scores.softmax(-1), values).view(U, -1)
