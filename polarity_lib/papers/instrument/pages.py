"""docs/worlds.md, written from data/worlds.json."""

import numpy as np

from polarity_lib.papers.instrument.figures import told
from polarity_lib.papers.instrument.gates import Gate, committed_worlds, world_tries
from polarity_lib.problems import world_named

HEAD = """# The worlds

Written by `python -m polarity_lib pages` from [`data/worlds.json`](../data/worlds.json). A world may judge methods once a base
policy and GRPO alone have passed these gates in it; rules came before runs
([`gates.py`](../polarity_lib/papers/instrument/gates.py)). [Notebook 04](../notebooks/04_can_this_world_tell.ipynb) draws them.
Two numbers are the smallest and the largest of several replicates, or of an interval.
"""


def worlds_page() -> str:
    """A row per gate, a column per world; then earlier tries."""
    worlds = committed_worlds()
    asks = {name: gate["asks"] for record in worlds.values() for name, gate in record["gates"].items()}
    lines = [HEAD, "| gate | asked | " + " | ".join(worlds) + " |", "|---" * (2 + len(worlds)) + "|"]
    for name, asked in asks.items():
        cells = [Gate(**record["gates"][name]) for record in worlds.values()]
        lines.append(f"| {name} | {asked} | " + " | ".join(told(g) + ("" if g.passed else " **✗**") for g in cells) + " |")
    lines.append("| **admitted** | | " + " | ".join("yes" if r["admitted"] else "no" for r in worlds.values()) + " |")
    lines.append("| answers long enough for token-level methods | 20 tokens | "
                 + " | ".join("yes" if r["token_methods"] else "no" for r in worlds.values()) + " |")
    lines.append("| test problems whose operands the pool has too | | "
                 + " | ".join(f"{100 * r['overlap']['same operands']:.0f} %" for r in worlds.values()) + " |")
    lines.append("| groups all wrong: base, then GRPO at the end | | " + " | ".join(map(dead, worlds.values())) + " |")
    lines.append("| batches | | " + " | ".join(str(world_named(w).protocol["steps"]) for w in worlds) + " |")
    if len(tries := world_tries()):
        lines += ["", "**Earlier tries**, measured before a world was changed:", "",
                  "| world | try | gates failed | GRPO's gain |", "|---|---|---|---|"]
        lines += [f"| {t.world} | {t.number} | {t.failed} | {min(t.gain):.3f} … {max(t.gain):.3f} |" for t in tries.itertuples()]
    return "\n".join(lines) + "\n"


def dead(record: dict) -> str:
    """Means over replicates of the shares of all-wrong groups, with their size."""
    found = record["all_wrong"]
    start, end = (100 * np.mean(found[when]) for when in ("at the start", "under GRPO at the end"))
    return f"{start:.0f} → {end:.0f} % of groups of {found['size']}"


PAGES = {"worlds.md": worlds_page}
