"""The problem sets of the papers: loaded from local files or from the hub, checked against a manifest.

    problems = load_problem_set("gsm8k")

The texts are never committed: most belong to competitions and some were taken down once. What
is committed is `data/problems_manifest.json`: where each set comes from, its licence, how many
rows it has and a hash over its normalised (problem, answer) pairs, as far as we could see a full
copy ourselves. A set we never saw in full has neither: it loads with a warning.

    python -m polarity_lib.problems.sets fetch                # all sets, into data/problems/ (`make data`)
    python -m polarity_lib.problems.sets fetch gsm8k math500  # some of them
    python -m polarity_lib.problems.sets list

Local files hold one JSON object per line with at least `problem` and `answer`. They are looked for
in the folder given, in `data/problems/`, and in the folder `benchmarks/` below the
environment variable POLARITY_TEST_DATA, in this order.

LiveCodeBench, which A3PO and BCPG-NSA report, needs the execution of generated
code; it is out of scope here and says so when asked for.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from polarity_lib.config import choose
from polarity_lib.outside import Told, end_in_one_line, strict_json
from polarity_lib.problems.base import Problem

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFEST = REPOSITORY / "data" / "problems_manifest.json"
FETCHED = REPOSITORY / "data" / "problems"


class ProblemSetError(RuntimeError, Told):
    """A set is absent, damaged or out of scope; the message says what to do."""


@lru_cache(maxsize=1)
def manifest() -> dict[str, dict]:
    """The committed facts about each set, by name."""
    return json.loads(MANIFEST.read_text(encoding="utf-8"))["sets"]


# ------------------------------------------------------------------ the hash


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", str(text)).split())


def pairs_hash(rows: Iterable[dict]) -> str:
    """SHA-256 over the (problem, answer) pairs, blanks collapsed, in sorted order.

    Order, file format and further fields do not matter; a changed word or answer does.
    """
    pairs = sorted(f"{_normalised(row['problem'])}\x1f{_normalised(row['answer'])}" for row in rows)
    return hashlib.sha256("\x1e".join(pairs).encode("utf-8")).hexdigest()


def check_rows(name: str, rows: list[dict]) -> str | None:
    """None where rows and hash agree with the manifest, else a sentence saying what does not."""
    facts = manifest()[name]
    if facts["pairs_sha256"] is None:
        return f"{name}: {len(rows)} rows loaded, but nobody here has seen a full copy: rows and content are unverified"
    if len(rows) != facts["rows"]:
        return f"{name}: {len(rows)} rows, the manifest says {facts['rows']}"
    if pairs_hash(rows) != facts["pairs_sha256"]:
        known = "the hash of its problems and answers differs from the manifest"
        return f"{name}: {known} (another edition, or a damaged file)"
    return None


# ------------------------------------------------------------------ local files


def local_file(name: str, folder: str | Path | None = None) -> Path | None:
    """The local file of a set, or None."""
    file = manifest()[name]["file"]
    test_data = os.environ.get("POLARITY_TEST_DATA")
    folders = [Path(folder)] if folder else [FETCHED, *([Path(test_data) / "benchmarks"] if test_data else [])]
    return next((place / file for place in folders if (place / file).is_file()), None)


def read_jsonl(path: Path) -> list[dict]:
    """Rows of a file with one JSON object per line, whatever line ends of Unicode stand inside the texts.

    Raises:
        ProblemSetError: a line is no object with `problem` and `answer`; the line is named.
    """
    rows = []
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise ProblemSetError(f"{path} is not in UTF-8 ({error.reason} at byte {error.start}).") from None
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split at U+2028 and its like
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            row["problem"], row["answer"] = str(row["problem"]), str(row["answer"])
        except (ValueError, KeyError, TypeError) as error:
            raise ProblemSetError(
                f"{path}, line {number}: not an object with `problem` and `answer` ({error})"
            ) from error
        rows.append(row)
    return rows


def load_rows(name: str, folder: str | Path | None = None, check: bool = True, download: bool = False) -> list[dict]:
    """The rows of a set as dictionaries, with the fields that its file has; see `load_problem_set`."""
    facts = _in_scope(name)
    path = local_file(name, folder)
    if path is None and download:
        path = _save(name, hub_rows(name), Path(folder or FETCHED))
    if path is None:
        fetching = f"run `make data` (or python -m polarity_lib.problems.sets fetch {name}) where there is network, or "
        raise ProblemSetError(
            f"{name} is not on this machine: {fetching if facts.get('source') else ''}"
            f"put {facts['file']} into {folder or FETCHED}."
        )
    rows = read_jsonl(path)
    complaint = check_rows(name, rows)
    if complaint and check and facts["pairs_sha256"] is not None:
        raise ProblemSetError(f"{complaint}. File: {path}. To use it all the same, pass check=False.")
    if complaint:
        warnings.warn(complaint, stacklevel=3)
    return rows


def load_problem_set(
    name: str, limit: int | None = None, *, folder: str | Path | None = None, check: bool = True, download: bool = False
) -> list[Problem]:
    """The problems of one of the papers' sets, in the order of its file.

    Args:
        name: a name from `manifest()`, for example "gsm8k", "math500", "aime24", "amc23", "amc_2022_2023".
        limit: only the first so many; the check is made on the whole set.
        folder: where the local file lies; None for the usual places (see the head of this module).
        check: False turns a difference from the manifest into a warning.
        download: fetch the set from the hub, by the id in the manifest, when it is not on this machine.

    Returns:
        Problems with `world` the name of the set, `prompt` the problem text without any template and `gold`
        the answer as the set writes it, for `verify_math`. `level` is 0 where the set states none.

    Raises:
        ConfigError: unknown name; near misses are listed.
        ProblemSetError: not on this machine, different from the manifest, or out of scope.
    """
    rows = load_rows(name, folder, check, download)[:limit]
    return [
        Problem(name, row["problem"], row["answer"], f"{name}/{pairs_hash([row])[:16]}", _level(row.get("level")))
        for row in rows
    ]


def _level(value):
    digits = re.search(r"\d+", str(value)) if value is not None else None
    return int(digits.group()) if digits else 0


def _in_scope(name):
    facts = manifest()[choose("problem set", name, manifest())]
    if facts.get("out_of_scope"):
        raise ProblemSetError(f"{name} is out of scope: {facts['out_of_scope']}")
    return facts


# ------------------------------------------------------------------ from the hub


def last_boxed(solution: str) -> str:
    """The content of the last \\boxed{} of a worked solution, the answer by MATH's convention; "" without one."""
    start = solution.rfind("\\boxed")
    if start < 0:
        return ""
    opening = solution.find("{", start)
    if opening < 0 or solution[start + 6 : opening].strip():
        return next(iter(solution[start + 6 :].partition("$")[0].split()), "")
    depth = 0
    for index in range(opening, len(solution)):
        depth += (solution[index] == "{") - (solution[index] == "}")
        if depth == 0:
            return solution[opening + 1 : index]
    return ""


def with_choices(question: str, choices: list[str], right: int) -> dict:
    """A multiple-choice row: the choices as lines (A), (B), ...; the answer is the letter."""
    bare = [re.sub(r"^[(]?[A-J][).]\s*", "", str(choice).strip()) for choice in choices]
    lines = [f"({chr(65 + index)}) {choice}" for index, choice in enumerate(bare)]
    return {"problem": "\n".join([question.strip(), *lines]), "answer": chr(65 + right)}


def _whole(value):
    text = str(value).strip()
    return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def _gpqa(row):
    question = row["Question"].strip()
    right = row["Correct Answer"]
    choices = [right, *(row[f"Incorrect Answer {number}"] for number in (1, 2, 3))]
    # An order that depends on the texts alone: the same on every machine, the right one anywhere.
    order = sorted(choices, key=lambda choice: hashlib.sha256(f"{question}\x1f{choice}".encode()).digest())
    return with_choices(question, order, order.index(right))


def _math(row):
    return {
        "problem": row["problem"],
        "answer": last_boxed(row["solution"]),
        "level": row.get("level"),
        "subject": row.get("type"),
    }


CONVERT: dict[str, Callable[[dict], dict]] = {
    "problem, answer": lambda row: {
        "problem": row["problem"],
        "answer": _whole(row["answer"]),
        "level": row.get("level"),
    },
    "question, answer": lambda row: {"problem": row["question"], "answer": _whole(row["answer"])},
    "gsm8k": lambda row: {
        "problem": row["question"],
        "answer": row["answer"].rpartition("####")[2].strip().replace(",", ""),
    },
    "math solution": _math,
    "olympiad": lambda row: {"problem": row["question"], "answer": ",".join(row["final_answer"])},
    "gpqa": _gpqa,
    "mmlu": lambda row: with_choices(row["question"], list(row["choices"]), int(row["answer"])),
    "agieval": lambda row: with_choices(
        row["query"].partition("Answer Choices:")[0].removeprefix("Q:"), list(row["choices"]), int(list(row["gold"])[0])
    ),
    "dapo": lambda row: {"problem": row["prompt"], "answer": str(row["solution"])},
}


def hub_rows(name: str) -> list[dict]:
    """The rows of a set from the Hugging Face hub, brought into our form. Needs network.

    The hub's own parquet copy of a set is read, so no code of the set is run.

    Raises:
        ProblemSetError: the hub cannot be reached, refuses (some sets ask for consent first), or has no such file.
    """
    facts = _in_scope(name)
    source = facts.get("source")
    if source is None:
        raise ProblemSetError(f"{name} has no home on the hub: {facts.get('note', 'put its file in place by hand')}")
    try:
        import pandas as pd
        from huggingface_hub import HfApi, hf_hub_download

        place = {"repo_id": source["id"], "repo_type": "dataset", "revision": "refs/convert/parquet"}
        files = HfApi().list_repo_files(**place)
        rows = []
        for config in source["configs"]:
            wanted = sorted(f for f in files if f.startswith(f"{config}/{source['split']}/") and f.endswith(".parquet"))
            if not wanted:
                raise FileNotFoundError(f"no parquet file for {config}/{source['split']}")
            for file in wanted:
                rows.extend(pd.read_parquet(hf_hub_download(filename=file, **place)).to_dict("records"))
    except Exception as error:  # the client raises many types; each means the same to the reader
        consent = (
            " This set asks you to accept its terms on its page and to log in first." if facts.get("gated") else ""
        )
        raise ProblemSetError(f"{name} could not be fetched from {source['id']}: {error}.{consent}") from error
    converted = [CONVERT[source["form"]](row) for row in rows]
    return [{"id": f"{name}/{index:05d}", **row, "source": source["id"]} for index, row in enumerate(converted)]


def _save(name, rows, folder):
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / manifest()[name]["file"]
    partial = target.with_suffix(f".{os.getpid()}.part")
    try:
        partial.write_text("".join(strict_json(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return partial.replace(target)  # the path of the file
    finally:
        partial.unlink(missing_ok=True)


def fetch(names: list[str] | None = None, folder: Path = FETCHED) -> list[str]:
    """Fetch sets into `folder` and say of each what was found; returns the names that failed.

    A set that differs from the manifest is kept, with a line saying so: `load_problem_set` will ask for check=False.
    """
    failed = []
    for name in names or [
        name for name, facts in manifest().items() if facts.get("source") and not facts.get("out_of_scope")
    ]:
        try:
            rows = hub_rows(name)
        except ProblemSetError as error:
            print(f"failed   {error}")
            failed.append(name)
            continue
        _save(name, rows, folder)
        print(f"fetched  {name}: {len(rows)} rows, {check_rows(name, rows) or 'as in the manifest'}")
    return failed


def main(arguments: list[str] | None = None) -> int:
    """The command line: fetch the problem sets from their homes."""
    parser = argparse.ArgumentParser(
        prog="python -m polarity_lib.problems.sets", description="The papers' problem sets."
    )
    parser.add_argument("command", choices=["fetch", "list"])
    parser.add_argument("names", nargs="*", help="sets; none for all")
    return end_in_one_line(_run, parser.parse_args(arguments))


def _run(parsed: argparse.Namespace) -> int:
    for name in parsed.names:
        choose("problem set", name, manifest())
    if parsed.command == "fetch":
        failed = fetch(parsed.names or None)
        if failed:
            print(f"{len(failed)} not fetched: {', '.join(failed)}")
        return 1 if failed else 0
    for name, facts in manifest().items():
        here = "out of scope" if facts.get("out_of_scope") else ("on this machine" if local_file(name) else "absent")
        print(f"{name:18} {facts['rows'] or '?':>6} rows  {here:16} {facts['licence']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
