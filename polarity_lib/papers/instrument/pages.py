"""docs/worlds.md, written from data/worlds.json."""

import numpy as np

from polarity_lib.papers.instrument.figures import told
from polarity_lib.papers.instrument.gates import Gate, committed_worlds, world_tries
from polarity_lib.problems import world_named
from polarity_lib.registry import Headline

HEAD = """# The worlds

Written by `python -m polarity_lib pages` from [`data/worlds.json`](../data/worlds.json). A world may judge methods once a base
policy and GRPO alone have passed these gates in it; rules came before runs
([`gates.py`](../polarity_lib/papers/instrument/gates.py)). [Notebook 04](../notebooks/04_can_this_world_tell.ipynb) draws them.
The world of BCPG-NSA, which learns offline, has [gates of its own](gems.md).
Two numbers are the smallest and the largest of several replicates, the ends of an interval, or (room in the
tail) pass@k at k = 1 and 64.
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


# --- for the README: sentences, whose words are checked against the numbers they are written with ---


def points(found: list[float]) -> str:
    """An estimate and its interval, in points."""
    estimate, low, high = (100 * value for value in found)
    return f"{estimate:+.1f} ({low:+.1f}, {high:+.1f})"


def _worlds_that_tell(load) -> Headline:
    """Which worlds were admitted, and what the two controls showed there."""
    worlds = committed_worlds()
    admitted = {name: {gate: found["found"] for gate, found in record["gates"].items()}
                for name, record in worlds.items() if record["admitted"]}
    assert all(gates["sees a handicap"][2] < 0 < gates["is not fooled by luck"][2] for gates in admitted.values())
    again = set(world_tries()["world"])
    told = "; ".join(
        f"in *{name}*{' (at its second try)' * (name in again)} GRPO gains {100 * min(gates['moves']):.0f} to "
        f"{100 * max(gates['moves']):.0f} points at pass@1; tossing a quarter of its verdicts changes that by "
        f"{points(gates['sees a handicap'])}, other luck alone by {points(gates['is not fooled by luck'])}"
        for name, gates in admitted.items())
    return Headline(
        "Not every small world can tell methods apart.",
        f"So a world must first show, with base and GRPO alone, that a known handicap is seen and mere luck is not. "
        f"{len(admitted)} of {len(worlds)} passed: {' and '.join(f'*{name}*' for name in admitted)} "
        "([their gates](docs/worlds.md); those of *gems*, for offline methods, [are others](docs/gems.md)).",
        f"{told[0].upper()}{told[1:]}.")


FINDINGS = (_worlds_that_tell,)
PAGES = {"worlds.md": worlds_page}
