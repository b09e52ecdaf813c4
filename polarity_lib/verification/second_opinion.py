"""A second witness beside the first checker, and where the two differ.

A single checker cannot tell how often it is wrong. Math-Verify as it comes, on the whole response, has
rules of its own for finding the answer and for comparing it (its LaTeX grammar and sympy are also behind our
second stage). What both accept is trustworthy; what one of them accepts deserves a look.
It is a witness, not a judge: rewards come from `verify_math`.
"""

from collections.abc import Sequence

from .answers import MAX_ANSWER_CHARACTERS
from .exact import Choice, Named, Number, Ordered, Several, Words, read
from .mathematics import MathVerifier, shared_verifier
from .verdicts import Verdict


def math_verify_alone(golds: Sequence, responses: Sequence[str], *, verifier: MathVerifier | None = None) -> list[Verdict]:
    """Math-Verify as it comes, on the whole response: the witness that the first checker is measured against.

    Its only help is our guard of time and memory. It reads plain expressions with sympy's `parse_expr`: use it on
    texts you know, not on whatever a policy writes.
    """
    pairs = list(zip(map(str, golds), map(str, responses), strict=True))
    replies = (verifier or shared_verifier()).decide("alone", set(pairs))
    verdicts = []
    for gold, response in pairs:
        reply = replies[gold, response]
        label = "correct" if reply.get("result") else "no_answer" if reply.get("empty") else "wrong"
        label = "timed_out" if "limit" in reply else label
        verdicts.append(Verdict(label, None, gold, reply.get("limit", "Math-Verify on the whole response")))
    return verdicts


def answer_kind(gold) -> str:
    """What kind of answer a gold is: the rows of the disagreement report."""
    node = read(str(gold)[:MAX_ANSWER_CHARACTERS])
    while isinstance(node, Named):
        node = node.value
    if isinstance(node, Number):
        if node.percent or node.unit:
            return "number with unit or percent"
        return "decimal" if node.digits else "whole number" if node.value.denominator == 1 else "fraction"
    if isinstance(node, Ordered) and node.brackets == "|":
        return "matrix"
    names = {Choice: "choice", Words: "words", Several: "several values", Ordered: "point or interval"}
    return names.get(type(node), "formula")


def disagreement(
    golds: Sequence,
    responses: Sequence[str],
    *,
    truncated: Sequence | None = None,
    verifier: MathVerifier | None = None,
):
    """Both checkers side by side, one row per response.

    It needs no model, so stored rollouts can be scored again at any time.

    Args:
        golds, responses, truncated: as for `verify_math`.
        verifier: a verifier to use; None for the shared one.

    Returns:
        pandas.DataFrame with `kind` (of the gold), `gold`, `label`, `answer`, `reason`, `second_label`,
        `second_reason`, `agree` (both correct or neither) and `difference`: "" where they
        agree, else "only first accepts" or "only second accepts". `attrs["rate"]` is the share of rows that differ.
    """
    import numpy as np
    import pandas as pd

    verifier = verifier or shared_verifier()
    first = verifier.verify(golds, responses, truncated=truncated)
    second = math_verify_alone(golds, responses, verifier=verifier)
    table = pd.DataFrame(
        {
            "kind": [answer_kind(gold) for gold in golds],
            "gold": [str(gold) for gold in golds],
            **{name: [getattr(verdict, name) for verdict in first] for name in ("label", "answer", "reason")},
            **{f"second_{name}": [getattr(verdict, name) for verdict in second] for name in ("label", "reason")},
        }
    )
    one, two = table["label"] == "correct", table["second_label"] == "correct"
    table["agree"] = one == two
    table["difference"] = np.select([one & ~two, two & ~one], ["only first accepts", "only second accepts"], "")
    table.attrs["rate"] = float((~table["agree"]).mean()) if len(table) else float("nan")
    return table


def disagreement_by_kind(table):
    """How often the checkers differ, by kind of gold answer, with who accepts; last row: all."""
    import pandas as pd

    parts = [*table.groupby("kind", sort=True), ("all", table)]
    rows = {
        kind: {
            "rows": len(part),
            "only first accepts": int((part["difference"] == "only first accepts").sum()),
            "only second accepts": int((part["difference"] == "only second accepts").sum()),
            "rate": float((part["difference"] != "").mean()) if len(part) else float("nan"),
        }
        for kind, part in parts
    }
    return pd.DataFrame(rows).T
