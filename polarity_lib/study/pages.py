"""What is written from tables: the findings in the README and docs/findings.md, docs/claims.md (the ledger),
docs/speed.md and docs/methods_where.md.

    python -m polarity_lib pages          write them anew
    python -m polarity_lib pages --check  exit 1 if one is out of date

No number in them is typed by hand: papers offer sentences (FINDINGS in their `pages.py`) and say which
means belong to a summary (SUMMARIES in their `claims.py`), benchmarks leave JSON. A test compares pages and tables.
"""

import functools
import json
import re
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from polarity_lib.claims import Subtest, decimals, final, tail, told
from polarity_lib.experiments import Runs, experiment, load_finished
from polarity_lib.integrations.table import methods_page
from polarity_lib.plots import arm_label
from polarity_lib.registry import CLAIMS, EXPERIMENTS, Headline, Paper, papers
from polarity_lib.results import ROOT, published_root, write_atomic
from polarity_lib.statistics import Interval, paired_t
from polarity_lib.study.plan import notebook_numbered

HOW_TO_READ = """# The claims

Written by `python -m polarity_lib pages` from [`data/results/claims.csv`](../data/results/claims.csv), which has every sub-test,
its interval, the smallest difference these seeds could have seen, and the reason for each verdict.

**Before any count: a world this small contradicts no result of a 7-billion-parameter model.** It says where a claim holds and
what it hangs on. What was known before a rule is said with its paper and in [`data/pilots.csv`](../data/pilots.csv).
*Rule older* is checked by the commit that brought the rule, as it stands, into [`data/rules.csv`](../data/rules.csv); runs made
before runs recorded their start leave it not checkable. What all rules share, and what can only take a word back, is the file's
line *every claim*: it has been made stricter since most runs were judged.

*Ours* is the paired difference over seeds of the first primary sub-test that ended in the claim's word (of the first, where
none did), in points or per cent, with its 95 % interval; *seeds* are its own. Where a claim is an order, it is that of the two
neighbours who decide.
*Replicated*: the interval lies on the claimed side (or inside the margin, for "as good as").
*Differs here*: on the other side, in this world. *No effect*: inside the margin around zero. *Inconclusive*: more seeds might
tell. *Not run yet*: the committed runs do not hold what it asks for. *Depends on the rate* or *on the definition*: another
choice of it ends on the other side. *Contradicted* is said of formulas and identities alone. The margin, 3 points, is ours, and
as large as the gains some of these papers report: read the intervals, not only the word. A claim's verdict is that of its
primary sub-tests (of all, where none was named before the runs); if they differ, the reason says how many went which way. An
order is judged pair by pair.
"""


@functools.cache
def load(name: str) -> Runs:
    """The committed runs of an experiment, and no others."""
    return load_finished(experiment(name, "all", "tiny", EXPERIMENTS[name].seeds), kept=False)


# --- the README ---------------------------------------------------------------------


FINDINGS_HEAD = """# What was found

Written by `python -m polarity_lib pages` from the committed tables: the findings of the README with all that belongs to them.
Intervals are of 95 %, over paired seeds, in points. **A world this small contradicts no result of a 7-billion-parameter model.**
Every claim with its verdict is in [claims.md](claims.md).
"""


@functools.cache
def findings() -> tuple[Headline, ...]:
    """Paper after paper; the collections of ours come last."""
    in_order = sorted(papers(), key=lambda paper: not paper.arxiv)
    return tuple(write(load) for paper in in_order for write in paper.part("pages", "FINDINGS", ()))


def so_far_run() -> str:
    """How many claims are judged, what they came to, and how many of their other readings are there."""
    table = pd.read_csv(published_root() / "claims.csv", keep_default_na=False)
    whole = table[table.subtest == ""].verdict
    there = whole[whole != "not run at this scale"].value_counts()
    readings = table[[row.subtest != "" and bool(subtest_of(row).reading_of) for _, row in table.iterrows()]]
    counts = ", ".join(f"{n} {verdict}" for verdict, n in there.items())
    return (f"So far {there.sum()} of {len(whole)} claims are judged: {counts} ([each with its interval](docs/claims.md)). Of "
            f"{len(readings)} readings of their main contrasts at another learning rate or by another formula, "
            f"{(readings.verdict != 'not run at this scale').sum()} are run; the rest is to come.")


def in_short(found: Headline) -> str:
    """A finding as the README has it."""
    return f"- **{found.says}** {found.shown} [More](docs/findings.md#{anchor(found.says)})"


def anchor(title: str) -> str:
    """Where GitHub puts a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def findings_page() -> str:
    """docs/findings.md."""
    parts = [f"## {found.says}\n\n{found.shown.replace('](docs/', '](')}\n\n{found.more}" for found in findings()]
    return "\n\n".join([FINDINGS_HEAD.strip(), *parts]) + "\n"


def readme(text: str) -> str:
    """The README with its findings made anew.

    Raises:
        ValueError: the marks of the part are missing.
    """
    marked = re.compile(r"(<!-- findings -->\n).*?(<!-- /findings -->)", re.DOTALL)
    if not marked.search(text):
        raise ValueError("README.md has no part marked findings")
    return marked.sub(lambda m: m[1] + "\n".join([*map(in_short, findings()), "", so_far_run()]) + "\n" + m[2], text)


def cell(text) -> str:
    """A text as one cell of a Markdown table: it cannot end the cell, the row or the page, nor become HTML."""
    text = " ".join(str(text).split()).replace("\\|", "|").replace("|", "\\|")
    return re.sub("<(?=[A-Za-z/!?])", "&lt;", text)


# --- docs/claims.md -----------------------------------------------------------------


def ledger(claims: Path) -> str:
    """Every claim of a table that notebook 90 wrote, a section per paper."""
    table = pd.read_csv(claims, keep_default_na=False, dtype={"notebook": str})
    return "\n\n".join([HOW_TO_READ, *(section for paper in papers() if (section := paper_section(paper, table)))]) + "\n"


def paper_section(paper: Paper, table: pd.DataFrame) -> str:
    """A paper's claims, and the means of its main comparisons; "" if it makes no claim."""
    names = [claim.name for claim in paper.part("claims", "CLAIMS", ())]
    mine = table[table.claim.isin(names)]
    if mine.empty:
        return ""
    counts = mine[mine.subtest == ""].verdict.map(so_far).value_counts()
    title = f"## {paper.title} ({paper.source})" if paper.arxiv else f"## {paper.title}"
    lines = [title, "", paper.about, "", ", ".join(f"{n} {verdict}" for verdict, n in counts.items()) + ".", "",
             "| claim | what it says | theirs → ours (95 % interval) | could have seen | seeds | verdict | rule older | where |",
             "|---|---|---|---|---|---|---|---|"]
    lines += [claim_line(name, rows) for name, rows in mine.groupby("claim", sort=False)]
    if known := paper.part("claims", "KNOWN_BEFORE", ""):
        lines += ["", f"*Known before a rule was written.* {known}"]
    for title, name, prefix, ks in paper.part("claims", "SUMMARIES", ()):
        if (runs := load(name)).arms:
            lines += ["", f"**{title}**", "", summary(runs, prefix, ks)]
    return "\n".join(lines)


def claim_line(name: str, rows: pd.DataFrame) -> str:
    """A claim's row: the numbers of a sub-test that decides (none where no run is compared), the verdict of all, links."""
    total, tests = rows[rows.subtest == ""].iloc[0], rows[rows.subtest != ""]
    first = deciding(tests, total.verdict)
    numbers = seen = ""
    if str(first.low) not in ("", "nan") and CLAIMS[name].experiment:
        ours, low, high = float(first.ours), float(first.low), float(first.high)
        found = Interval(ours, low, high, 0.95, int(first.seeds), float(first.smallest_detectable))
        numbers = f"{first.subtest}{what_is_shown(first)}: {first.theirs or '–'} → {told(found)}"
        seen = f"{found.smallest_detectable:.{decimals(found)}f}"
    notebook, figure = notebook_numbered(total.notebook), f"figures/{total.figure}.png"
    where = cell(total.notebook)
    if notebook:
        path = f"../{notebook.relative_to(ROOT).as_posix()}" if notebook.is_relative_to(ROOT) else notebook.as_posix()
        where = f"[{where}]({quote(path)})"
    where += f", [figure](../{quote(figure)})" if (ROOT / figure).exists() else ""
    verdict = f"**{so_far(total.verdict)}** ({so_far(cell(total.reason))})"
    cells = (cell(name), cell(CLAIMS[name].says), cell(numbers), seen, seeds_of(first), verdict, total.rule_older, where)
    return "| " + " | ".join(map(str, cells)) + " |"


def so_far(text: str) -> str:
    """A verdict, or a reason with verdicts in it, on what is committed: every claim here has its experiment at scale tiny."""
    return text.replace("not run at this scale", "not run yet")


def deciding(tests: pd.DataFrame, verdict: str) -> pd.Series:
    """The first primary sub-test (of all, where none is named) that ended in the claim's word; else the first of them."""
    primary = tests[tests.primary.astype(str) == "True"]
    asked = primary if len(primary) else tests
    return (asked[asked.verdict == verdict] if (asked.verdict == verdict).any() else asked).iloc[0]


def subtest_of(row: pd.Series) -> Subtest:
    """The sub-test that wrote a row of the table."""
    return next(test for test in CLAIMS[row.claim].tests() if test.name == row.subtest)


def what_is_shown(row: pd.Series) -> str:
    """" (shown: ...)", where the number is not the difference that the sub-test's name speaks of."""
    shown = subtest_of(row).shown
    return f" (shown: {shown})" if shown else ""


def seeds_of(row: pd.Series) -> str:
    """How many seeds a sub-test has, and of how many where some of its experiment are still to come."""
    name = subtest_of(row).experiment or CLAIMS[row.claim].experiment
    planned = EXPERIMENTS[name].seeds if name else 0
    return f"{row.seeds} of {planned}" if 0 < int(row.seeds) < planned else str(row.seeds)


def summary(runs: Runs, prefix: str, ks: tuple[int, ...]) -> str:
    """Mean pass@k of every arm whose name begins with the prefix, and what it adds to the base's pass@1, over common seeds."""
    names = [a for a in dict.fromkeys(arm.name for arm in runs.arms) if a.startswith(prefix)]
    heads = ["arm", *(f"pass@{k}" for k in ks), "gain at 1 (95 % interval)", "seeds"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    tables = {k: final(runs, tail(k))[names].dropna() for k in ks}  # the seeds that every arm has
    for arm in names:
        gain = paired_t(tables[1][arm] - tables[1][f"{prefix}base"])
        words = told(gain) if gain.n > 1 else f"{gain.estimate:+.1f}"
        words = "" if arm == f"{prefix}base" else words
        cells = " | ".join(f"{tables[k][arm].mean():.1f}" for k in ks)
        lines.append(f"| {cell(arm_label(arm.removeprefix(prefix)))} | {cells} | {words} | {tables[1][arm].count()} |")
    return "\n".join(lines)


# --- docs/speed.md ------------------------------------------------------------------


def speed() -> str:
    """Every benchmark's measured rows."""
    lines = ["# Speed", "", "Written by `python -m polarity_lib pages` from `benchmarks/results/*.json`, which name machine and",
             "versions. Each ratio comes from one run of both sides: so many times as fast as the peer, or as small in memory;",
             "per cent: what share of the whole step it takes.", "",
             "| what | ours | peer | ratio | processor |", "|---|---|---|---|---|"]
    floors = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        where = told_machine(record["machine"])
        for row in record.get("measured", []):
            peer = f"{row['peer']:g} {row['unit']} ({row['peer_name']})" if row.get("peer") else "–"
            ratio = f"{row['ratio']:g} ×" if row.get("ratio") else "–"
            ratio = f"{100 * row['ratio']:.2g} %" if row.get("share") else ratio
            lines.append(f"| {cell(row['what'])} | {row['ours']:g} {cell(row['unit'])} | {cell(peer)} | {ratio} | {where} |")
            if row.get("shares"):
                parts = ", ".join(f"{100 * share:.0f} % {kind}" for kind, share in row["shares"].items())
                floor = (f". Matrix products alone, at the speed of a large one: {row['floor']:g} s, "
                         f"{100 * row['of_the_floor']:.0f} % of the step") if "floor" in row else ""
                floors.append(f"- {row['what']}: {parts}{floor}")
    if floors:
        lines += ["", "Where the time goes, by a profile of one step:", "", *floors]
    return "\n".join(lines) + "\n"


def told_machine(machine: dict) -> str:
    """The processor, or GPU, and its threads, as `benchmarks/common.py` keeps them."""
    threads = machine.get("threads", 1)
    return f"{machine.get('gpu') or machine.get('processor', '')}, {threads} thread{'s' * (threads > 1)}"


# --- writing ------------------------------------------------------------------------


def pages() -> dict[Path, str]:
    """Every written page, as it should read."""
    found = {ROOT / "README.md": readme((ROOT / "README.md").read_text(encoding="utf-8")),
             ROOT / "docs" / "claims.md": ledger(published_root() / "claims.csv"),
             ROOT / "docs" / "findings.md": findings_page(), ROOT / "docs" / "speed.md": speed(),
             ROOT / "docs" / "methods_where.md": methods_page()}
    own = {name: write for paper in papers() for name, write in paper.part("pages", "PAGES", {}).items()}
    return found | {ROOT / "docs" / name: write() for name, write in own.items()}


def out_of_date() -> list[Path]:
    """The pages that do not say what the tables say."""
    return [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def write_pages() -> list[Path]:
    """Bring every page up to date; returns those that changed."""
    changed, wanted = out_of_date(), pages()
    for path in changed:
        write_atomic(path, wanted[path].encode())
    return changed
