"""The papers' sets: found, checked, refused. Real texts are read where POLARITY_TEST_DATA names them, never copied."""

import json
import os
from pathlib import Path

import pytest

from polarity_lib.config import ConfigError
from polarity_lib.problems import sets

DATA = os.environ.get("POLARITY_TEST_DATA", "")
needs_data = pytest.mark.skipif(
    not (Path(DATA) / "benchmarks").is_dir() or not DATA,
    reason="POLARITY_TEST_DATA names no folder with benchmarks/ (the texts may not be committed)",
)
ROWS = [{"problem": "What is 1+1?", "answer": "2"}, {"problem": "What is 2+2?", "answer": "4"}]


@pytest.fixture
def little_set(tmp_path, monkeypatch):
    """A set of two problems with its own manifest, in a folder of its own."""
    facts = {
        "file": "little.jsonl",
        "licence": "ours",
        "rows": 2,
        "pairs_sha256": sets.pairs_hash(ROWS),
        "source": {"id": "a/b", "configs": ["default"], "split": "test", "form": "problem, answer"},
    }
    monkeypatch.setattr(
        sets,
        "manifest",
        lambda: {"little": facts, "unseen": dict(facts, file="unseen.jsonl", rows=None, pairs_sha256=None)},
    )
    monkeypatch.setattr(sets, "FETCHED", tmp_path)
    monkeypatch.delenv("POLARITY_TEST_DATA", raising=False)

    def write(rows, name="little.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path

    return write


def test_a_set_is_loaded_in_order_with_gold_and_level(little_set):
    little_set([ROWS[0] | {"level": "Level 3"}, ROWS[1]])
    problems = sets.load_problem_set("little")
    assert [(p.prompt, p.gold, p.level, p.world) for p in problems] == [
        ("What is 1+1?", "2", 3, "little"),
        ("What is 2+2?", "4", 0, "little"),
    ]
    assert len({p.key for p in problems}) == 2
    assert len(sets.load_problem_set("little", limit=1)) == 1


def test_the_hash_ignores_order_and_blanks_and_nothing_else():
    spaced = [{"problem": " What  is 2+2?\n", "answer": "4 "}, ROWS[0]]
    assert sets.pairs_hash(spaced) == sets.pairs_hash(ROWS)
    assert sets.pairs_hash([ROWS[0], {"problem": "What is 2+2?", "answer": "5"}]) != sets.pairs_hash(ROWS)
    assert sets.pairs_hash(ROWS * 2) != sets.pairs_hash(ROWS)


def test_a_changed_answer_is_refused_unless_the_reader_insists(little_set):
    little_set([ROWS[0], {"problem": "What is 2+2?", "answer": "5"}])
    with pytest.raises(sets.ProblemSetError, match="hash of its problems and answers differs.*check=False"):
        sets.load_problem_set("little")
    with pytest.warns(UserWarning, match="differs from the manifest"):
        assert len(sets.load_problem_set("little", check=False)) == 2


def test_a_missing_row_is_refused(little_set):
    little_set(ROWS[:1])
    with pytest.raises(sets.ProblemSetError, match="1 rows, the manifest says 2"):
        sets.load_problem_set("little")


def test_a_set_nobody_saw_in_full_loads_with_a_warning(little_set):
    little_set(ROWS, "unseen.jsonl")
    with pytest.warns(UserWarning, match="unverified"):
        assert len(sets.load_problem_set("unseen")) == 2


def test_an_absent_set_says_what_to_do(little_set):
    with pytest.raises(sets.ProblemSetError, match="not on this machine: run `make data`.*or put little.jsonl into"):
        sets.load_problem_set("little")


def test_a_broken_line_is_named(little_set):
    folder = little_set(ROWS)
    (folder / "little.jsonl").write_text('{"problem": "p", "answer": "1"}\n{"problem": "p"}\n')
    with pytest.raises(sets.ProblemSetError, match="line 2"):
        sets.load_problem_set("little")


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e", "\r", "\n"])
def test_a_line_end_of_unicode_inside_a_text_ends_no_row(sign, little_set, tmp_path):
    """Raw in the file where JSON allows it, as we and others write it."""
    rows = [{"problem": f"What{sign}is 1+1?", "answer": "2"}, ROWS[1]]
    sets._save("little", rows, tmp_path)
    assert sets.read_jsonl(tmp_path / "little.jsonl") == rows
    assert [p.prompt for p in sets.load_problem_set("little")] == [row["problem"] for row in rows]  # a blank to the hash


def test_files_of_other_editors_are_read_or_named(little_set, tmp_path):
    folder = little_set(ROWS)
    text = (folder / "little.jsonl").read_text(encoding="utf-8")
    (folder / "little.jsonl").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert len(sets.load_problem_set("little")) == 2
    (folder / "little.jsonl").write_bytes('{"problem": "é", "answer": "1"}\n'.encode("latin-1"))
    with pytest.raises(sets.ProblemSetError, match="little.jsonl is not in UTF-8"):
        sets.load_problem_set("little")


def test_a_fetched_set_is_strict_json_and_leaves_no_half_file(little_set, tmp_path, monkeypatch):
    path = sets._save("little", [ROWS[0] | {"level": float("nan")}], tmp_path)
    assert "NaN" not in path.read_text(encoding="utf-8") and sets.read_jsonl(path)[0]["level"] is None
    monkeypatch.setattr(Path, "replace", lambda *args: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        sets._save("little", ROWS, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["little.jsonl"]


def test_an_unknown_name_is_met_with_near_misses():
    with pytest.raises(ConfigError, match="gsm8k"):
        sets.load_problem_set("gsm8")


def test_livecodebench_is_out_of_scope_and_says_why():
    with pytest.raises(sets.ProblemSetError, match="execution of generated code.*A3PO and BCPG-NSA"):
        sets.load_problem_set("livecodebench")


def test_every_set_of_the_papers_is_in_the_manifest():
    facts = sets.manifest()
    wanted = {
        "gsm8k", "math500", "math_test", "aime24", "aime25", "amc23", "amc_2022_2023", "minerva_math", "olympiad_bench",
        "gpqa_diamond",
        "mmlu_stem", "gaokao_mathqa", "dapo_math_17k", "deepscaler", "math_train", "livecodebench",
    }  # fmt: skip
    assert wanted <= set(facts)
    for name, entry in facts.items():
        assert entry["licence"] and entry["status"], name
        assert (entry["rows"] is None) == (entry["pairs_sha256"] is None), (
            f"{name}: rows and hash are known together or not at all"
        )
        assert entry.get("out_of_scope") or entry.get("source") or entry["pairs_sha256"], name
        if entry.get("source"):
            assert entry["source"]["form"] in sets.CONVERT, name
    assert facts["amc23"]["rows"] == 40 and facts["amc_2022_2023"]["rows_stated"]["rows"] == 83


def test_the_forms_of_the_hub_become_problem_and_answer():
    convert = sets.CONVERT
    assert convert["gsm8k"]({"question": "q", "answer": "work <<1+1=2>>\n#### 1,234"}) == {
        "problem": "q",
        "answer": "1234",
    }
    assert convert["question, answer"]({"question": "q", "answer": "27.0"})["answer"] == "27"
    assert (
        convert["math solution"](
            {"problem": "p", "solution": "so \\boxed{\\frac{1}{2}}.", "level": "Level 2", "type": "Algebra"}
        )["answer"]
        == "\\frac{1}{2}"
    )
    assert convert["olympiad"]({"question": "q", "final_answer": ["1", "2"]})["answer"] == "1,2"
    row = convert["mmlu"]({"question": "Which?", "choices": ["w", "x", "y", "z"], "answer": 2})
    assert row == {"problem": "Which?\n(A) w\n(B) x\n(C) y\n(D) z", "answer": "C"}
    agieval = convert["agieval"](
        {"query": "Q: Which? Answer Choices: (A)1 (B)2\nA: ...", "choices": ["(A)1", "(B)2"], "gold": [1]}
    )
    assert agieval == {"problem": "Which?\n(A) 1\n(B) 2", "answer": "B"}


def test_the_choices_of_gpqa_have_a_fixed_order_and_the_letter_of_the_right_one():
    row = {
        "Question": "Which?",
        "Correct Answer": "right",
        "Incorrect Answer 1": "a",
        "Incorrect Answer 2": "b",
        "Incorrect Answer 3": "c",
    }
    first = sets.CONVERT["gpqa"](row)
    assert first == sets.CONVERT["gpqa"](dict(reversed(row.items())))
    assert f"({first['answer']}) right" in first["problem"]


@pytest.mark.parametrize(
    "solution, answer",
    [
        ("\\boxed{3}", "3"),
        ("\\boxed 3$", "3"),
        ("none", ""),
        ("\\boxed{1} then \\boxed{a{b}c}", "a{b}c"),
        ("\\boxed{open", ""),
        ("so it is \\boxed", ""),  # ends there
        ("\\boxed ", ""),
        ("\\boxed $", ""),
    ],
)
def test_the_last_box_of_a_solution(solution, answer):
    assert sets.last_boxed(solution) == answer


def test_fetching_keeps_what_it_can_and_names_what_failed(little_set, tmp_path, monkeypatch, capsys):
    def hub(name):
        if name == "unseen":
            raise sets.ProblemSetError("unseen could not be fetched")
        return ROWS

    monkeypatch.setattr(sets, "hub_rows", hub)
    assert sets.fetch(folder=tmp_path) == ["unseen"]
    assert "as in the manifest" in capsys.readouterr().out
    assert [p.gold for p in sets.load_problem_set("little")] == ["2", "4"]
    assert not list(tmp_path.glob("*.part"))


def test_a_refusing_hub_is_one_clear_sentence(little_set, monkeypatch):
    import huggingface_hub

    class Refusing:
        def list_repo_files(self, **_place):
            raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "HfApi", Refusing)
    with pytest.raises(sets.ProblemSetError, match="little could not be fetched from a/b: no network"):
        sets.load_problem_set("little", download=True)


def test_hub_rows_come_from_its_parquet_copy(little_set, tmp_path, monkeypatch):
    import huggingface_hub
    import pandas as pd

    pd.DataFrame(ROWS).to_parquet(tmp_path / "part.parquet")

    class Hub:
        def list_repo_files(self, revision, **_place):
            assert revision == "refs/convert/parquet"
            return ["default/test/0000.parquet", "default/train/0000.parquet", "README.md"]

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda filename, **_place: tmp_path / "part.parquet")
    rows = sets.hub_rows("little")
    assert [(row["problem"], row["answer"], row["source"]) for row in rows] == [
        ("What is 1+1?", "2", "a/b"),
        ("What is 2+2?", "4", "a/b"),
    ]


@needs_data
@pytest.mark.parametrize(
    "name, rows",
    [
        ("gsm8k", 1319),
        ("math500", 500),
        ("aime24", 30),
        ("aime25", 30),
        ("amc23", 40),
        ("minerva_math", 272),
        ("olympiad_bench", 675),
        ("math_train_sample", 2000),
    ],
)
def test_the_real_sets_agree_with_the_manifest(name, rows):
    problems = sets.load_problem_set(name)
    assert len(problems) == rows == sets.manifest()[name]["rows"]
    assert all(problem.prompt and problem.gold for problem in problems)
