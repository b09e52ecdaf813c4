"""Is a claim's rule older than the runs it judges? A stranger can check it.

data/rules.csv holds a digest per claim: of its sub-tests, of the functions that judge them and of what these call. The
commit that brought a digest into the file is when that rule was last changed; runs carry their start (runs.csv). What all
claims share, and what can only take a word back (readings, Holm, seeds that failed), has a line of its own, SHARED.

    python -m polarity_lib.study.rules    bring data/rules.csv up to date (commit it before the runs)
"""

import functools
import subprocess

import pandas as pd

from polarity_lib.claims import ALPHA, OPPOSITE, Claim, after_holm, find, read_again, roll_up, with_whole
from polarity_lib.digests import digest_of
from polarity_lib.registry import CLAIMS, paper_of
from polarity_lib.results import ROOT, published_root, read_lines, write_atomic

RULES = ROOT / "data" / "rules.csv"
NOT_RECORDED, NO_RUNS, SHARED = "not checkable", "needs no run", "every claim"


def rule_of(claim: Claim) -> str:
    """A short name for what judges a claim. Its wording for people, its figure and its notebook play no part."""
    tests = claim.subtests if callable(claim.subtests) else tuple(
        (t.name, t.metric, t.find, t.experiment, t.primary, t.reading_of, t.choice) for t in claim.subtests)
    package = paper_of(CLAIMS, claim.name).package
    return digest_of((claim.name, claim.experiment, claim.needed, tests, roll_up), package.partition(".")[0])


def rules() -> dict[str, str]:
    """Every claim's rule, as it is now, and what they share."""
    shared = digest_of((find, read_again, with_whole, after_holm, ALPHA, tuple(OPPOSITE.items())), "")
    return {SHARED: shared} | {name: rule_of(claim) for name, claim in CLAIMS.items()}


def committed_rules() -> dict[str, str]:
    """Every claim's rule, as data/rules.csv has it."""
    return dict(pd.read_csv(RULES, encoding="utf-8").itertuples(index=False, name=None)) if RULES.exists() else {}


def write_rules() -> None:
    """data/rules.csv from the rules as they are now."""
    write_atomic(RULES, pd.DataFrame(rules().items(), columns=["claim", "rule"]).to_csv(index=False).encode())


@functools.cache
def written(claim: str, rule: str) -> tuple[str, str] | None:
    """(commit, time) that last brought a rule into data/rules.csv; None where there is no history to ask.

    A rule that was changed and changed back is as young as that.
    """
    command = ["git", "log", "--format=%h %cI", f"-S{claim},{rule}", "--", str(RULES.relative_to(ROOT))]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=20).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (found[0], found[1]) if len(found) >= 2 else None


def started(claim: Claim) -> list[str | None]:
    """When each published run that a claim reads was started; None where that was not recorded."""
    names = {test.experiment or claim.experiment for test in claim.tests()} - {""}
    lines = [read_lines(published_root() / name / "runs.csv") for name in sorted(names)]
    return [time if isinstance(time, str) else None for table in lines
            for time in table.get("started", pd.Series([None] * len(table)))]


def age(claim: Claim) -> dict[str, str]:
    """A claim's rule, the commit it was written at, and whether it is older than all runs it judges."""
    now = rule_of(claim)
    if not claim.experiment:
        return {"rule": now, "rule_commit": "", "rule_older": NO_RUNS}
    if committed_rules().get(claim.name) != now:
        return {"rule": now, "rule_commit": "", "rule_older": "no"}  # changed, and not written down since
    when, times = written(claim.name, now), started(claim)
    if when is None or not times or None in times:
        return {"rule": now, "rule_commit": when[0] if when else "", "rule_older": NOT_RECORDED}
    older = pd.Timestamp(when[1]) < min(pd.Timestamp(time) for time in times)
    return {"rule": now, "rule_commit": when[0], "rule_older": "yes" if older else "no"}


def with_ages(judged: pd.DataFrame) -> pd.DataFrame:
    """A table of claims with three more columns, equal in all rows of a claim."""
    ages = pd.DataFrame({name: age(CLAIMS[name]) for name in dict.fromkeys(judged.claim)}).T
    return judged.join(ages, on="claim")


if __name__ == "__main__":
    write_rules()
