"""Which rows a model runs: one for every distinct prefix that is still being continued."""

import torch
from torch import Tensor

IN_USE = 0.7  # of the rows: with fewer, all are put in order and the others dropped


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
    parents_U, token_U, place = _distinct(where_N, token_N, alive_N)
    if not _further(parents_U).any() and len(parents_U) > IN_USE * rows:
        stay_U = torch.zeros(rows, dtype=torch.long)
        stay_U[parents_U] = token_U
        return None, stay_U, where_N
    return parents_U, token_U, torch.zeros_like(where_N).masked_scatter(alive_N, place)


def next_prefixes_in_place(where_N: Tensor, token_N: Tensor, alive_N: Tensor, rows: int):
    """The same for a cache that can copy a few rows: a prefix stays in its row, its further branches go to free ones.

    Rows that nobody is in keep running, until there are many of them and all are put in order.
    """
    parents_U, token_U, place = _distinct(where_N, token_N, alive_N)
    row_U = torch.arange(len(parents_U))
    if len(parents_U) > IN_USE * rows:
        further_U, free = _further(parents_U), torch.ones(max(rows, len(parents_U)), dtype=torch.bool)
        free[parents_U] = False
        row_U = parents_U.clone()
        row_U[further_U] = free.nonzero()[: int(further_U.sum()), 0]
        every_row = torch.arange(len(free))
        parents_U = every_row.index_copy(0, row_U, parents_U) if further_U.any() else None
        token_U = torch.zeros_like(every_row).index_copy(0, row_U, token_U)
    return parents_U, token_U, torch.zeros_like(where_N).masked_scatter(alive_N, row_U[place])


def _distinct(where_N: Tensor, token_N: Tensor, alive_N: Tensor):
    """Row and next token of every distinct prefix, in order, and which of them each living rollout has."""
    vocabulary = int(token_N.max()) + 1
    pairs, place = torch.unique((where_N * vocabulary + token_N)[alive_N], return_inverse=True)
    return pairs // vocabulary, pairs % vocabulary, place


def _further(parents_U: Tensor) -> Tensor:
    """[U] whether a prefix continues the same row as the one before it."""
    return torch.cat([torch.zeros(1, dtype=torch.bool), parents_U[1:] == parents_U[:-1]])
