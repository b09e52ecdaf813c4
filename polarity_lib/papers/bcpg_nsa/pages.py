"""What the README says of BCPG-NSA, from committed runs, and docs/gems.md: the gates of its world."""

from polarity_lib.claims import compare, final, is_not_worse, told
from polarity_lib.papers.bcpg_nsa.claims import AND, NSA, P1
from polarity_lib.papers.bcpg_nsa.experiments import BASELINES, offline_record
from polarity_lib.papers.bcpg_nsa.gates import gate_table
from polarity_lib.registry import Headline


def _swept(load) -> str:
    """What the mining coefficient moves, and what wrong answers do that somebody made up."""
    runs, by_beta = load("bcpg_negatives"), final(load("bcpg_beta"), P1).filter(like="beta=").mean()
    bcpg, dpo = (compare(is_not_worse, f"{m} plausible", f"{m} garbled", P1)(runs).interval for m in ("bcpg", "dpo"))
    assert max(bcpg.high, dpo.high) < 0
    return (f"Over beta from 1 to -1 the means span {by_beta.max() - by_beta.min():.2f} points. Wrong answers that are made up "
            f"do more harm where they are plausible than where they are garbled: BCPG ends {told(bcpg)} and DPO {told(dpo)} from "
            f"there ({bcpg.n} seeds).")


def _offline(load) -> Headline:
    """What wrong answers add to right ones offline, what sparing their right steps adds to that, and that labels are seen."""
    runs, judges = load("bcpg_offline"), load("bcpg_judges")

    def read(left: str, right: str, where=runs):
        return compare(is_not_worse, left, right, P1)(where).interval

    gain, bcpg = read("rft", "base"), read("bcpg", "rft")
    behind = {m: read(m, "rft") for m in BASELINES}
    spared, agreed = read(NSA, "bcpg"), read(AND, "bcpg")
    anywhere, even = (read(NSA, f"bcpg_nsa {control}", judges) for control in ("anywhere", "answer"))
    apart = offline_record()["gates"]["tells tokens apart"]["found"]
    assert gain.low > 20 and -1 < bcpg.low < 0 < bcpg.high < 1 and max(found.high for found in behind.values()) < 0
    assert max(abs(spared.low), abs(spared.high), abs(agreed.low), abs(agreed.high)) < 1 and apart[1] > 1
    shown = final(runs, "test/work_shown")
    return Headline(
        "Offline, one's own wrong answers add nothing to the right ones here, and sparing their right steps adds nothing "
        "either.",
        f"In *gems* fine-tuning on right answers alone brings {told(gain)} points at pass@1. Of those that push wrong ones "
        f"down too, BCPG ends {told(bcpg)} from there and offline GRPO {told(behind['grpo_offline'])}; sparing the right steps "
        f"of wrong answers (BCPG-NSA) changes BCPG by {told(spared)} with exact labels.",
        f"{gain.n} seeds, own rates, all on the same stored answers. Answers that show their work go from "
        f"{shown['base'].mean():.0f} to {shown['rft'].mean():.0f} % by right answers alone. TOPR ends {told(behind['topr'])} "
        f"from there, DPO {told(behind['dpo'])}. With two noisy judges that must agree BCPG-NSA (beta 0.5) changes BCPG by "
        f"{told(agreed)}. Exact labels end {told(anywhere)} above as many random tokens, and {told(even)} from one weight for "
        "each wrong answer, the mean of its own token weights: sparing an answer as a whole did no worse than sparing its "
        f"right steps. {_swept(load)} "
        "The world does see which tokens are chosen: *rewarding* right steps instead of random tokens is worth "
        f"{apart[0]:+.1f} ({apart[1]:+.1f}, {apart[2]:+.1f}) on four validation seeds.")


GEMS = """# The world of BCPG-NSA

Written by `python -m polarity_lib pages` from [`data/offline.json`](../data/offline.json). Offline methods learn from stored
answers, so the gates of [the other worlds](worlds.md) do not fit them. A world may judge them if right answers alone move it and
if it sees which tokens of a wrong answer are chosen, on four validation seeds, before any reported seed is run
([`gates.py`](../polarity_lib/papers/bcpg_nsa/gates.py)). Numbers are points of pass@1; three in a row are a mean and its 95 %
interval.
"""


def gems_page() -> str:
    """A row per gate of every try."""
    record = offline_record()
    lines = [GEMS, "| try | gate | asked | found | passed |", "|---|---|---|---|---|"]
    for row in gate_table(record).itertuples():
        found = [f"{k} {v}" for k, v in row.found.items()] if isinstance(row.found, dict) else map(str, row.found)
        lines.append(f"| {row[1]} | {row.gate} | {row.asks} | {', '.join(found)} | {'yes' if row.passed else 'no'} |")
    low = ", ".join(map(str, record["labels minus random tokens at beta 0.5"]))
    return "\n".join(lines) + f"""

**Between the first and the second try** the base policy was changed, since two of four had not learned to add: 600 steps instead
of 320, more worked texts, operands to 50. **Between the second and the third** the world stayed and the second gate was asked
otherwise, at beta -1 instead of 0.5. At 0.5 it asked whether BCPG-NSA *gains*, which is what the claims ask: a world that sees
the labels well fails there if sparing is worth little. To the old question the admitted world still answers {low}. Whoever
disagrees with this choice has the numbers of both.
"""


FINDINGS = (_offline,)
PAGES = {"gems.md": gems_page}
