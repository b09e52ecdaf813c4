"""Where a throw-away decoder keeps the keys and values of what came before, and how a new token attends to them.

Letters: P prompts of at most W tokens, U rows (distinct answers so far), t answer tokens before the new one; H heads of
queries, K heads of keys and values, D numbers each.
"""

import torch
from torch import Tensor


def those_that_move(parents_U: Tensor) -> Tensor:
    """[M] the rows that continue another row than themselves."""
    return (parents_U != torch.arange(len(parents_U), device=parents_U.device)).nonzero()[:, 0]


class RowCache:
    """Every row has its prompt's keys and values beside its own: fastest where prompts are short and each head has its own.

    Args:
        hidden_PL: [P, W] minus infinity where a prompt is padded on the right, or None where none is.
        shape: (layers, P, W, K, D)
    """

    def __init__(self, shape: tuple, hidden_PL: Tensor | None, rows: int, limit: int, device):
        layers, self.P, self.W, kept, D = shape
        self._K, self._V = (torch.empty(layers, self.W + limit, rows, kept, D, device=device) for _ in range(2))
        self._hidden_UL = hidden_PL

    def prompts(self, layer: int, k_PLKD: Tensor, v_PLKD: Tensor) -> None:
        """The prompts become the first rows."""
        self._K[layer, : self.W, : self.P], self._V[layer, : self.W, : self.P] = k_PLKD.transpose(0, 1), v_PLKD.transpose(0, 1)

    def move(self, t: int, parents_U: Tensor) -> None:
        """New rows take over the cache of the rows they continue."""
        moving_M = those_that_move(parents_U)
        for kept in (self._K, self._V):
            kept[:, : self.W + t, moving_M] = kept[:, : self.W + t, parents_U[moving_M]]
        if self._hidden_UL is not None:
            self._hidden_UL = self._hidden_UL[parents_U]

    def attend(self, layer: int, t: int, q_UHD: Tensor, k_UKD: Tensor, v_UKD: Tensor) -> Tensor:
        """Keep the new token's key and value; what its query reads from everything up to it: [U, H*D]."""
        U, end = len(q_UHD), self.W + t
        self._K[layer, end, :U], self._V[layer, end, :U] = k_UKD, v_UKD
        scores_LUH = (self._K[layer, : end + 1, :U] * q_UHD).sum(-1)
        if self._hidden_UL is not None:
            scores_LUH[: self.W] += self._hidden_UL.t()[:, :, None]
        return (scores_LUH.softmax(0)[..., None] * self._V[layer, : end + 1, :U]).sum(0).flatten(1)


class SharedCache:
    """A prompt's keys and values are kept once for all of its rows, and several heads of queries may share one of keys.

    All queries of a prompt's rows meet its keys in one matrix product; each row's queries meet the row's own keys.
    Arguments as for RowCache.
    """

    def __init__(self, shape: tuple, hidden_PL: Tensor | None, rows: int, limit: int, device):
        layers, self.P, self.W, self.kept, self.D = shape
        self._prompt_K, self._prompt_V = (torch.empty(layers, self.P * self.kept, self.W, self.D, device=device) for _ in range(2))
        self._K, self._V = (torch.empty(layers, rows, self.kept, limit, self.D, device=device) for _ in range(2))
        self._hidden_PL = hidden_PL
        self._place(torch.arange(self.P, device=device))

    def _place(self, prompt_U: Tensor) -> None:
        """Give every row a place among the rows of its prompt, which has as many places as the fullest prompt has rows."""
        count_P, order_U = torch.bincount(prompt_U, minlength=self.P), prompt_U.argsort(stable=True)
        first_P, rank_U = count_P.cumsum(0) - count_P, torch.empty_like(order_U)
        rank_U[order_U] = torch.arange(len(order_U), device=order_U.device)
        self._prompt_U, self._places = prompt_U, int(count_P.max())
        self._place_U = prompt_U * self._places + rank_U - first_P[prompt_U]

    def prompts(self, layer: int, k_PLKD: Tensor, v_PLKD: Tensor) -> None:
        """Keep the keys and values of the prompts."""
        self._prompt_K[layer], self._prompt_V[layer] = (x.transpose(1, 2).flatten(0, 1) for x in (k_PLKD, v_PLKD))

    def move(self, t: int, parents_U: Tensor) -> None:
        """New rows take over the cache of the rows they continue; the prompts' stays where it is."""
        moving_M = those_that_move(parents_U)
        for kept in (self._K, self._V):
            kept[:, moving_M, :, :t] = kept[:, parents_U[moving_M], :, :t]
        self._place(self._prompt_U[parents_U])

    def attend(self, layer: int, t: int, q_UHD: Tensor, k_UKD: Tensor, v_UKD: Tensor) -> Tensor:
        """Keep the new token's key and value; what its query reads from everything up to it: [U, H*D]."""
        U, K, D = len(q_UHD), self.kept, self.D
        self._K[layer, :U, :, t], self._V[layer, :U, :, t] = k_UKD, v_UKD
        keys, values = (x[layer, :U, :, : t + 1].flatten(0, 1) for x in (self._K, self._V))  # [U*K, t+1, D]
        q_UKRD = q_UHD.view(U, K, -1, D)
        own = torch.bmm(q_UKRD.flatten(0, 1), keys.transpose(1, 2)).view(U, K, -1, t + 1)
        shared = torch.bmm(self._by_prompt(q_UKRD), self._prompt_K[layer].transpose(1, 2))  # [P*K, places*R, W]
        if self._hidden_PL is not None:
            shared += self._hidden_PL.repeat_interleave(K, 0)[:, None]
        weights = torch.cat([self._by_row(shared), own], -1).softmax(-1)
        read = self._by_row(torch.bmm(self._by_prompt(weights[..., : self.W]), self._prompt_V[layer]))
        return (read + torch.bmm(weights[..., self.W :].flatten(0, 1), values).view_as(read)).flatten(1)

    def _by_prompt(self, x_UKRX: Tensor) -> Tensor:
        """Rows of one prompt side by side, empty places zero: [P*K, places*R, X]."""
        x_UKRX = x_UKRX.new_zeros(self.P * self._places, *x_UKRX.shape[1:]).index_copy_(0, self._place_U, x_UKRX)
        return x_UKRX.unflatten(0, (self.P, -1)).transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def _by_row(self, x: Tensor) -> Tensor:
        """The way back: [U, K, R, X]."""
        x_UKRX = x.view(self.P, self.kept, self._places, -1, x.shape[-1]).transpose(1, 2).flatten(0, 1)
        return x_UKRX[self._place_U]
