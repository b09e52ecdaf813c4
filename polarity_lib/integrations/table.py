"""Which method runs where: our own loop, TRL, verl; and why not elsewhere. Written from the records, not by hand."""

import pandas as pd
import torch

from polarity_lib.config import ConfigError
from polarity_lib.integrations.shared import has_option, obstacle, obstacle_in_verl
from polarity_lib.methods import Method, collect_fixed, keep_all, method_named
from polarity_lib.objectives import BatchCounts
from polarity_lib.registry import METHODS, paper_of

HEAD = """# Which method runs where

Written by `python -m polarity_lib pages` from the methods' own records. *ours* is the library's loop on one device; how to use
a method in TRL or verl by naming it stands in [trainers.md](trainers.md).

"""


def methods_where() -> pd.DataFrame:
    """One row per method: name, paper, then for each engine "" where it runs as it is, a change it needs, or why it does not."""
    return pd.DataFrame([
        {"method": name, "paper": paper_of(METHODS, name).title, "ours": "", "trl": place(name, obstacle, "trl"),
         "verl": place(name, obstacle_in_verl, "verl")} for name in METHODS])


def place(name: str, obstacle_of, engine: str) -> str:
    """"" where a method runs; "with ...:" a part left out; "no: ..." why it does not."""
    method, change = method_named(name), ""
    if method.collect is not collect_fixed and has_option(name, "dynamic"):
        method, change = method_named(name, {"dynamic": False}), "with dynamic=False, since there the trainer samples"
    if why := obstacle_of(method):
        return f"no: {why}"
    return "; ".join(x for x in (change, *remarks(method, engine)) if x)


def remarks(method: Method, engine: str) -> list[str]:
    """What differs a little there."""
    found = []
    if engine == "trl" and "entropies" in method.needs:
        found.append("ranks the tokens of each device's micro-batch by themselves")
    if engine == "trl" and "old_distributions" in method.needs:
        found.append("keeps whole distributions, so small vocabularies or batches only")
    if engine == "verl" and method.keep is not keep_all and counts_kept_rows(method):
        found.append("kept rows are counted over the batch of rollouts, not over each mini-batch")
    return found


def counts_kept_rows(method: Method) -> bool:
    """Whether a method's denominator depends on how many rows it keeps."""
    ones_NT = torch.ones(2, 3)
    all_kept, half = (method.aggregate(ones_NT, ones_NT, BatchCounts(12, 4, *kept, 8)) for kept in ((12, 4), (6, 1)))
    return bool(all_kept != half)


def runs(name: str, engine: str, options: dict | None = None) -> bool:
    """Whether a method with these options runs in "trl" or "verl"."""
    try:
        return not (obstacle if engine == "trl" else obstacle_in_verl)(method_named(name, options))
    except ConfigError:
        return False


def methods_page() -> str:
    """docs/methods_where.md."""
    lines = ["| method | paper | ours | TRL | verl |", "|---|---|---|---|---|"]
    for row in methods_where().itertuples():
        cells = [told.replace("|", "\\|") or "yes" for told in (row.ours, row.trl, row.verl)]
        lines.append(f"| `{row.method}` | {row.paper} | {' | '.join(cells)} |")
    return HEAD + "\n".join(lines) + "\n"
