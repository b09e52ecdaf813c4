"""Why a score changes from run to run: uncertain problems, spread, flips, how many runs a ranking needs.

    read_verdicts     any table problem x run, from a CSV or parquet file; refusals name line and column
    describe          everything below as numbers, for one table
    uncertain, spread_of_runs, predicted_spread, share_of_uncertain
    without_uncertain delete the uncertain problems of one half of the runs, look at the spread of the other
    flips             greedy against sampled
    wrong_order       how often n runs rank two methods wrongly
    runs_needed       how many make that rare
    decisive          which problems decide

Source of the definitions: ours, after the findings of arXiv 2506.04913; the paper's own band for "uncertain" is unverified.

Axes: Q problems, R runs.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from polarity_lib.config import ConfigError
from polarity_lib.outside import Told, first_line

BAND = (0.2, 0.8)
OTHER_BANDS = ((0.1, 0.9), (0.3, 0.7))
PROBLEM = "problem"  # the column that names the problems
WORDS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}
MAX_RUNS = 1_000_000
NORMAL = NormalDist()  # of the standard library: where runs are made there may be no scipy


class VerdictTableError(ValueError, Told):
    """A table of verdicts that cannot be read; one line that says where and what to do."""

    status = 2


@dataclass(frozen=True)
class Recorded:
    """Verdicts of several runs on the same problems."""

    problems: list[str]  # [Q]
    runs: list[str]  # [R]
    right_QR: np.ndarray  # bool


# ---------------------------------------------------------------- a table from anywhere


def read_verdicts(path: str | Path) -> Recorded:
    """A table with a column `problem` and one column per run; cells are 0 or 1, or true and false.

    Lines of a CSV file are counted as an editor counts them, the header being line 1; a row of a parquet
    table is counted like a CSV line below a header.

    Raises:
        VerdictTableError: no such file, another kind of file, no column `problem`, fewer than two runs or two problems, a name
            twice, a missing cell or a cell that is not 0 or 1: with the line and the column.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise VerdictTableError(f"{path} is not a file. Name a CSV or parquet file with a column `{PROBLEM}` and one per run.")
    readers = {".csv": _csv_rows, ".parquet": _parquet_rows}
    if path.suffix.lower() not in readers:
        kind = path.suffix or "one without ending"
        raise VerdictTableError(f"{path}: a table of verdicts is a .csv or a .parquet file, not {kind}.")
    header, rows = readers[path.suffix.lower()](path)
    return _checked_table(path, header, rows)


def _csv_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            rows, before = [], 0
            for cells in reader:
                if cells:
                    rows.append((before + 1, [cell.strip() for cell in cells]))
                before = reader.line_num
    except UnicodeDecodeError as error:
        raise VerdictTableError(f"{path} is not in UTF-8 ({error.reason} at byte {error.start}).") from None
    except csv.Error as error:
        raise VerdictTableError(f"{path}, line {reader.line_num}: no readable CSV ({error}).") from None
    if not rows:
        raise VerdictTableError(f"{path} is empty.")
    return rows[0][1], rows[1:]


def _parquet_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are among these
        raise VerdictTableError(f"{path} is no readable parquet file ({first_line(error)}).") from None
    if PROBLEM not in table.columns and table.index.name == PROBLEM:
        table = table.reset_index()
    texts = [["" if pd.isna(cell) else str(cell).strip() for cell in row] for row in table.itertuples(index=False, name=None)]
    return [str(name) for name in table.columns], [(i, row) for i, row in enumerate(texts, start=2)]


def _checked_table(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> Recorded:
    if PROBLEM not in header:
        raise VerdictTableError(f"{path}, line 1: there is no column `{PROBLEM}`; the columns are {', '.join(header[:8])}.")
    for place, name in enumerate(header, start=1):
        if not name:
            raise VerdictTableError(f"{path}, line 1, column {place}: the column has no name.")
        if header.index(name) != place - 1:
            raise VerdictTableError(f"{path}, line 1, column {place}: the name {name!r} stands there a second time.")
    key = header.index(PROBLEM)
    runs = [name for name in header if name != PROBLEM]
    if len(runs) < 2:
        raise VerdictTableError(f"{path}, line 1: spread between runs needs at least two columns of runs; there are {len(runs)}.")
    seen, right = {}, []
    for line, cells in rows:
        if len(cells) < len(header):
            raise VerdictTableError(f"{path}, line {line}, column {header[len(cells)]}: the run is missing "
                                    "(the line ends before it).")
        if len(cells) > len(header):
            raise VerdictTableError(f"{path}, line {line}: {len(cells)} cells, but the header has {len(header)}.")
        if not cells[key]:
            raise VerdictTableError(f"{path}, line {line}, column {PROBLEM}: the problem has no name.")
        if cells[key] in seen:
            raise VerdictTableError(f"{path}, line {line}, column {PROBLEM}: {cells[key]!r} stands in line "
                                    f"{seen[cells[key]]} already.")
        seen[cells[key]] = line
        right.append([_verdict(path, line, name, cell) for name, cell in zip(header, cells) if name != PROBLEM])
    if len(right) < 2:
        raise VerdictTableError(f"{path}: a test set needs at least two problems; there are {len(right)}.")
    return Recorded(list(seen), runs, np.array(right) == 1)


def _verdict(path: Path, line: int, column: str, cell: str) -> float:
    if not cell or cell.lower() in ("nan", "none", "na"):
        raise VerdictTableError(f"{path}, line {line}, column {column}: the verdict is missing. "
                                "A run must have one on every problem: leave the run out, or count what was not answered as 0.")
    if cell.lower() not in WORDS:
        raise VerdictTableError(f"{path}, line {line}, column {column}: {cell!r} is not a verdict; "
                                "write 1 for right and 0 for wrong.")
    return WORDS[cell.lower()]


def same_problems(left: Recorded, right: Recorded) -> Recorded:
    """The second table with its problems in the order of the first.

    Raises:
        VerdictTableError: the two name other problems, with the first that differs.
    """
    missing = [name for name in left.problems if name not in set(right.problems)]
    extra = [name for name in right.problems if name not in set(left.problems)]
    if missing or extra:
        told = f"{missing[0]!r} stands only in the first" if missing else f"{extra[0]!r} stands only in the second"
        raise VerdictTableError(f"Two methods are ranked on the same problems: {told} "
                                f"({len(missing) + len(extra)} such names in all).")
    order = [right.problems.index(name) for name in left.problems]
    return Recorded(left.problems, right.runs, right.right_QR[order])


def write_verdicts(recorded: Recorded, path: Path) -> None:
    """The table that `read_verdicts` reads."""
    table = pd.DataFrame(recorded.right_QR.astype(int), columns=recorded.runs)
    table.insert(0, PROBLEM, recorded.problems)
    table.to_csv(path, index=False, lineterminator="\n")


# ---------------------------------------------------------------- spread


def accuracies(right_QR: ArrayLike) -> np.ndarray:
    """[Q] share of runs in which each problem is right."""
    return np.asarray(right_QR, dtype=float).mean(axis=1)


def uncertain(p_Q: ArrayLike, band: tuple[float, float] = BAND) -> np.ndarray:
    """[Q] true where neither outcome clearly dominates: low <= p <= high. (The paper's band is unverified.)"""
    p_Q = np.asarray(p_Q, dtype=float)
    return (p_Q >= band[0] - 1e-12) & (p_Q <= band[1] + 1e-12)


def spread_of_runs(right_QR: ArrayLike) -> float:
    """Standard deviation, over runs, of a run's score: s with s^2 = Var_k(Acc_k), divisor R - 1; NaN for a single run."""
    scores_R = np.asarray(right_QR, dtype=float).mean(axis=0)
    return float(scores_R.std(ddof=1)) if len(scores_R) > 1 else math.nan


def predicted_spread(p_Q: ArrayLike, runs: int | None = None) -> float:
    """What that spread is if problems are independent: sqrt(1/Q^2 sum_q p_q (1 - p_q)).

    Args:
        runs: how many runs p was estimated from; p (1 - p) of an estimate is too small by (R - 1)/R, which is then mended.
    """
    p_Q = np.asarray(p_Q, dtype=float)
    scale = runs / (runs - 1) if runs else 1.0
    return math.sqrt(scale * float((p_Q * (1 - p_Q)).sum())) / len(p_Q)


def share_of_uncertain(p_Q: ArrayLike, band: tuple[float, float] = BAND) -> float:
    """The part of the predicted variance that the uncertain problems hold; NaN where there is none."""
    p_Q = np.asarray(p_Q, dtype=float)
    variance_Q = p_Q * (1 - p_Q)
    return float(variance_Q[uncertain(p_Q, band)].sum() / variance_Q.sum()) if variance_Q.sum() else math.nan


def spread_range(right_QR: ArrayLike) -> float:
    """The best run's score minus the worst's."""
    scores_R = np.asarray(right_QR, dtype=float).mean(axis=0)
    return float(scores_R.max() - scores_R.min())


def without_uncertain(right_QR: ArrayLike, band: tuple[float, float] = BAND) -> tuple[float, float]:
    """The spread of the second half of the runs: on all problems, and without those that the first half calls uncertain.

    Both as the standard deviation of a run's *number* of right answers over Q: deleting problems must not make the
    score coarser by itself. NaN where every problem is uncertain.
    """
    right_QR = np.asarray(right_QR, dtype=float)
    half = right_QR.shape[1] // 2
    kept_Q = ~uncertain(accuracies(right_QR[:, :half]), band)
    rest = right_QR[:, half:]
    if not kept_Q.any():
        return spread_of_runs(rest), math.nan
    return spread_of_runs(rest), float(spread_of_runs(rest[kept_Q]) * kept_Q.mean())


def flips(p_Q: ArrayLike, greedy_Q: ArrayLike) -> dict[str, float]:
    """Greedy against sampled, problem by problem.

        down     problems with p > 1/2 that greedy decoding gets wrong, as a share of Q
        up       problems with p < 1/2 that it gets right
        inside   share of the flipped problems that are uncertain; NaN without flips
        bias     greedy score minus mean sampled score
    """
    p_Q, greedy_Q = np.asarray(p_Q, dtype=float), np.asarray(greedy_Q, dtype=bool)
    down_Q, up_Q = (p_Q > 0.5) & ~greedy_Q, (p_Q < 0.5) & greedy_Q
    flipped_Q = down_Q | up_Q
    return {"down": float(down_Q.mean()), "up": float(up_Q.mean()),
            "inside": float(uncertain(p_Q)[flipped_Q].mean()) if flipped_Q.any() else math.nan,
            "bias": float(greedy_Q.mean() - p_Q.mean())}


def agreement(verdicts_QK: ArrayLike) -> float:
    """Share of problems on which all K greedy decodes (paraphrases, orders) have one verdict."""
    verdicts_QK = np.asarray(verdicts_QK, dtype=bool)
    return float((verdicts_QK == verdicts_QK[:, :1]).all(axis=1).mean())


def describe(right_QR: ArrayLike) -> dict[str, float]:
    """One table of verdicts as numbers."""
    right_QR = np.asarray(right_QR, dtype=bool)
    p_Q, runs = accuracies(right_QR), right_QR.shape[1]
    spread, without = without_uncertain(right_QR)
    return {
        "score": float(p_Q.mean()), "problems": len(p_Q), "runs": runs,
        "run_sd": spread_of_runs(right_QR), "predicted_sd": predicted_spread(p_Q, runs), "range": spread_range(right_QR),
        "uncertain": float(uncertain(p_Q).mean()), "share_of_uncertain": share_of_uncertain(p_Q),
        "half_sd": spread, "half_sd_without": without,
        "cut": 1 - without / spread if spread else math.nan,
    }


# ---------------------------------------------------------------- ranking


def wrong_order(p_Q: ArrayLike, q_Q: ArrayLike, runs: int) -> float:
    """Probability that the means of `runs` runs each put the worse of two methods first, if runs and problems are independent.

        difference ~ Normal(d, (s_p^2 + s_q^2) / runs)

    Args:
        p_Q, q_Q: success probability of every problem under the two methods; the one with the larger mean is better.
    """
    gap = abs(float(np.mean(p_Q)) - float(np.mean(q_Q)))
    spread = math.hypot(predicted_spread(p_Q), predicted_spread(q_Q))
    if spread == 0:
        return 0.5 if gap == 0 else 0.0
    return NORMAL.cdf(-gap * math.sqrt(runs) / spread)


def wrong_order_by_resampling(left_QR: ArrayLike, right_QR: ArrayLike, runs: int, draws: int = 4000, seed: int = 0) -> float:
    """The same from recorded runs, drawn with replacement: no formula, no independence of problems."""
    left_R, right_R = (np.asarray(x, dtype=float).mean(axis=0) for x in (left_QR, right_QR))
    sign = np.sign(left_R.mean() - right_R.mean()) or 1.0
    rng = np.random.default_rng(seed)
    means = [scores[rng.integers(len(scores), size=(draws, runs))].mean(axis=1) for scores in (left_R, right_R)]
    found_B = sign * (means[0] - means[1])
    return float((found_B < -1e-12).mean() + 0.5 * (np.abs(found_B) <= 1e-12).mean())


def runs_needed(gap: float, spread_left: float, spread_right: float, error: float = 0.05) -> int:
    """Runs of each method until a true difference of scores is ranked wrongly at most so often.

        n = ceil( z^2 (s_l^2 + s_r^2) / gap^2 ),    z the normal quantile of 1 - error

    Raises:
        ConfigError: no difference to rank, or an error outside (0, 0.5).
    """
    if not gap > 0:
        raise ConfigError(f"Two methods are ranked by a difference above zero, not {gap}.")
    if not 0 < error < 0.5:
        raise ConfigError(f"The error is a probability between 0 and 0.5, not {error}.")
    wanted = (NORMAL.inv_cdf(1 - error) * math.hypot(spread_left, spread_right) / gap) ** 2
    return int(min(MAX_RUNS, max(1, math.ceil(wanted - 1e-9))))


def decisive(recorded: Recorded, count: int = 10) -> pd.DataFrame:
    """The problems that hold most of the variance of a score, most first: their accuracy and their share of it."""
    p_Q = accuracies(recorded.right_QR)
    variance_Q = p_Q * (1 - p_Q)
    total = variance_Q.sum()
    table = pd.DataFrame({PROBLEM: recorded.problems, "accuracy": p_Q, "uncertain": uncertain(p_Q),
                          "share of the variance": variance_Q / total if total else 0.0})
    return table.sort_values("share of the variance", ascending=False, kind="stable").head(count).reset_index(drop=True)


def advice(found: dict[str, float], gaps: tuple[float, ...] = (0.01, 0.02, 0.05)) -> pd.DataFrame:
    """Runs of each of two methods like this one until a true difference of so many points is ranked rightly 19 times in 20."""
    spread = found["predicted_sd"]
    if not spread:
        return pd.DataFrame({"true difference, points": 100 * np.array(gaps), "runs": 1, "wrong with one run, %": 0.0})
    rows = [{"true difference, points": 100 * gap, "runs": runs_needed(gap, spread, spread),
             "wrong with one run, %": 100 * NORMAL.cdf(-gap / (math.sqrt(2) * spread))} for gap in gaps]
    return pd.DataFrame(rows)


# ---------------------------------------------------------------- published counts


def of_counts(problems: pd.DataFrame, least: int = 16) -> pd.DataFrame:
    """One row per run of a table of counts (columns run, arm, seed, problem, samples, correct, greedy, set): what can be said
    without the single verdicts. Sets other than `test`, and problems with fewer than `least` samples, are left out."""
    rows = problems[(problems.set == "test") & (problems.samples >= least)]
    found = []
    for keys, part in rows.groupby(["run", "arm", "seed"], sort=False):
        p_Q, samples = (part.correct / part.samples).to_numpy(), int(part.samples.iloc[0])
        sd = predicted_spread(p_Q, samples)
        found.append(dict(zip(("run", "arm", "seed"), keys)) | {
            "problems": len(p_Q), "samples": samples, "score": float(p_Q.mean()), "predicted_sd": sd,
            "uncertain": float(uncertain(p_Q).mean()), "share_of_uncertain": share_of_uncertain(p_Q),
            "se_of_mean": sd / math.sqrt(samples)} | flips(p_Q, part.greedy))
    return pd.DataFrame(found)
