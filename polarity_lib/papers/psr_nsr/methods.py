"""Right answers only, wrong answers only: three formulas that go by the same two names.

    psr, nsr                   constant +1 / -1            RLVR-Decomposed, the paper's own code
    psr_grpo_seq, nsr_grpo_seq group-normalised, filtered, mean over sequences    A3PO's code
    psr_grpo_tok, nsr_grpo_tok group-normalised, filtered, token mean x row share Dissecting's code

W-REINFORCE and plain REINFORCE, which other papers compare with, are in `baselines`.
"""

from dataclasses import replace

from polarity_lib import objectives as obj
from polarity_lib.methods import Method, keep_right, keep_wrong
from polarity_lib.papers.baselines.methods import grpo, reinforce

A3PO_CODE = "Sample-Polarity-of-RLVR; arXiv 2512.21625"
DISSECT_CODE = "Dissect-Long-Reason-Models"


def psr() -> Method:
    """Right rows only, constant +1; wrong rows are dropped before the update."""
    return replace(reinforce(), name="psr", keep=keep_right)


def nsr() -> Method:
    """Wrong rows only, constant -1; right rows are dropped before the update."""
    return replace(reinforce(), name="nsr", keep=keep_wrong)


def psr_all_tokens() -> Method:
    """psr divided by the tokens of both polarities (ours; no released code divides like this)."""
    return replace(psr(), name="psr_all_tokens", source="ours", aggregate=obj.token_mean)


def nsr_all_tokens() -> Method:
    """nsr divided by the tokens of both polarities (ours; no released code divides like this)."""
    return replace(nsr(), name="nsr_all_tokens", source="ours", aggregate=obj.token_mean)


def psr_grpo_seq() -> Method:
    """Right rows of group-normalised advantages; uniform groups give nothing."""
    return replace(grpo(), name="psr_grpo_seq", source=A3PO_CODE, keep=keep_right)


def nsr_grpo_seq() -> Method:
    """Wrong rows of group-normalised advantages; uniform groups give nothing."""
    return replace(grpo(), name="nsr_grpo_seq", source=A3PO_CODE, keep=keep_wrong)


def psr_grpo_tok() -> Method:
    """As psr_grpo_seq with the token mean over kept rows times their share of the batch."""
    return replace(psr_grpo_seq(), name="psr_grpo_tok", source=DISSECT_CODE,
                   aggregate=obj.kept_token_mean_times_share)


def nsr_grpo_tok() -> Method:
    """As nsr_grpo_seq with the token mean over kept rows times their share of the batch."""
    return replace(nsr_grpo_seq(), name="nsr_grpo_tok", source=DISSECT_CODE,
                   aggregate=obj.kept_token_mean_times_share)


METHODS = {
    f.__name__: f
    for f in (psr, nsr, psr_all_tokens, nsr_all_tokens, psr_grpo_seq, nsr_grpo_seq, psr_grpo_tok, nsr_grpo_tok)
}
