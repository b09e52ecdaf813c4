"""The numbers in the README, written from tables.

Everything between `<!-- NAME -->` and `<!-- /NAME -->` in README.md is made
here from data/results and benchmarks/results; a test compares the two.

    python -m polarity_lib.readme          rewrite
    python -m polarity_lib.readme --check  exit 1 if the README is out of date
"""

import json
import re
import sys

import pandas as pd

from polarity_lib.arms import EXPERIMENTS
from polarity_lib.claims import CLAIMS, PAPERS
from polarity_lib.experiments import Runs, experiment, load_finished
from polarity_lib.figures import arm_label
from polarity_lib.results import ROOT, published_root
from polarity_lib.rules import final
from polarity_lib.uncertainty import mean_t

README = ROOT / "README.md"


def claims_section() -> str:
    """claim | theirs | ours | verdict, from data/results/claims.csv, a table per paper."""
    table = pd.read_csv(published_root() / "claims.csv", keep_default_na=False, dtype={"notebook": str})
    lines = []
    for paper, names in PAPERS.items():
        mine = table[table.claim.isin(names)]
        counts = mine[mine.subtest == ""].verdict.value_counts()
        lines += ["", f"**{paper}**: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items()) + ".", "",
                  "| claim | what it says | theirs → ours (95 % interval) | verdict | notebook |", "|---|---|---|---|---|"]
        lines += [claim_line(name, rows) for name, rows in mine.groupby("claim", sort=False)]
    return "\n".join(lines[1:])


def claim_line(name: str, rows: pd.DataFrame) -> str:
    """A claim's line: its first sub-test's numbers (none where no run is compared) and the verdict of all."""
    total = rows[rows.subtest == ""].iloc[0]
    first = rows[rows.subtest != ""].iloc[0]
    numbers = ""
    if str(first.low) not in ("", "nan") and CLAIMS[name].experiment:
        ours, low, high = float(first.ours), float(first.low), float(first.high)
        numbers = f"{first.subtest}: {first.theirs or '–'} → {ours:+.1f} ({low:+.1f}, {high:+.1f})"
    return f"| {name} | {CLAIMS[name].says} | {numbers} | **{total.verdict}** ({total.reason}) | {total.notebook} |"


def headline_section() -> str:
    """Pass@k of every arm of notebook 10, means over the committed seeds."""
    seeds = EXPERIMENTS["psr_nsr"].seeds
    runs = load_finished(experiment("psr_nsr", "all", "tiny", seeds))
    ks = (1, 16, 64, 256)
    tables = {k: final(runs, f"test/pass@{k}") for k in ks}
    lines = ["| arm | " + " | ".join(f"pass@{k}" for k in ks) + " | seeds |", "|---|" + "---|" * (len(ks) + 1)]
    for arm in dict.fromkeys(a.name for a in runs.arms):
        cells = " | ".join(f"{tables[k][arm].mean():.1f}" for k in ks)
        lines.append(f"| {arm_label(arm)} | {cells} | {tables[1][arm].count()} |")
    return "\n".join(lines)


def gains_section() -> str:
    """Final pass@1 minus the base's, in points: A3PO and its baselines, LENS and its controls, per world."""
    lines = ["| | world | base pass@1 | gain of each method, points (95 % interval) | seeds |", "|---|---|---|---|---|"]
    for paper, name, prefix in GAINS:
        runs = load_finished([arm for arm in experiment(name, "all", "tiny", EXPERIMENTS[name].seeds)
                              if arm.name.startswith(prefix)])
        if runs.arms:
            lines.append(gain_line(paper, runs, prefix))
    return "\n".join(lines)


GAINS = (("A3PO", "a3po_countdown", "countdown3/"), ("A3PO", "a3po_countdown", "countdown4/"), ("A3PO", "a3po_chain", ""),
         ("LENS", "lens_countdown", ""), ("LENS", "lens_chain", ""))  # paper, experiment, prefix of its arms


def gain_line(paper: str, runs: Runs, prefix: str) -> str:
    """One world's line of the gains."""
    table = final(runs, "test/pass@1").dropna()  # over the seeds that every arm has
    base, cells = table[f"{prefix}base"], []
    for arm in (arm for arm in dict.fromkeys(a.name for a in runs.arms) if arm != f"{prefix}base"):
        found = mean_t(table[arm] - base)
        bounds = f" ({found.low:+.1f}, {found.high:+.1f})" if found.n > 1 else ""
        cells.append(f"{arm_label(arm.removeprefix(prefix))} {found.estimate:+.1f}{bounds}")
    world = runs.arms[0].config.world
    return f"| {paper} | {world} | {base.mean():.1f} | {'; '.join(cells)} | {len(table)} |"


def speed_section() -> str:
    """Every benchmark's measured rows."""
    lines = ["| what | ours | peer | ratio | threads |", "|---|---|---|---|---|"]
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        record = json.loads(path.read_text())
        threads = record["machine"].get("threads", 1) if isinstance(record["machine"], dict) else 1
        for row in record.get("measured", []):
            peer = f"{row['peer']:g} {row['unit']} ({row['peer_name']})" if row.get("peer") else "–"
            ratio = f"{row['ratio']:g} ×" if row.get("ratio") else "–"
            lines.append(f"| {row['what']} | {row['ours']:g} {row['unit']} | {peer} | {ratio} | {threads} |")
    return "\n".join(lines)


SECTIONS = {"claims": claims_section, "headline": headline_section, "gains": gains_section, "speed": speed_section}


def filled(text: str) -> str:
    """The README with every marked part made anew."""
    for name, make in SECTIONS.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not marked.search(text):
            raise ValueError(f"README.md has no part marked {name}")
        body = make()
        text = marked.sub(lambda m: m[1] + body + "\n" + m[2], text)
    return text


def main(arguments: list[str]) -> int:
    """Fill README.md in, or with --check only say whether it is up to date."""
    old = README.read_text()
    new = filled(old)
    if "--check" in arguments:
        print("README.md is up to date" if old == new else "README.md is out of date: python -m polarity_lib.readme")
        return int(old != new)
    README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
