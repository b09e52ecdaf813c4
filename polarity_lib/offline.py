"""Answers that are drawn once and trained on many times: a data set in Arrow, and a sampler that reads it.

    answers/<world>-...-<hash>/answers.arrow     a row per answer, the answers of a problem together
                               manifest.json     who wrote them and how, counts, checksum; written last

The file is an Arrow stream, which `pyarrow` and `datasets.Dataset.from_file` open as it is. It is memory-mapped: a batch
costs the memory of a batch, however large the set. Columns:

    key, prompt, gold, level      the problem
    tokens, logprobs, entropies   lists, one number per response token; under the policy that wrote them
    text, finished                the answer, and whether it ended by itself
    label, answer, reason         its verdict
    steps                         [{start, end, label}, ...] where the world's checker knows steps; positions are characters

To the training loop a data set is one more sampler: `sample(problems, answers, seed)` gives what was written then.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import torch

from polarity_lib.config import ConfigError, RunConfig, StartConfig, content_hash
from polarity_lib.engines import make_sampler
from polarity_lib.outside import strict_json
from polarity_lib.policy import Policy
from polarity_lib.problems import Problem, any_world
from polarity_lib.provenance import weights_hash
from polarity_lib.results import Damaged, RunFolder, clear_storage_errors, runs_root, say, write_atomic
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import Verdict, place_steps, verify

FORMAT = 1
FILE, MANIFEST = "answers.arrow", "manifest.json"
AT_A_TIME = 64  # problems that are sampled, judged and written together
UNLABELLED = "none"  # response tokens that belong to no step, such as the final answer
SCHEMA = pa.schema([
    ("key", pa.string()), ("prompt", pa.string()), ("gold", pa.string()), ("level", pa.int32()),
    ("tokens", pa.list_(pa.int32())), ("logprobs", pa.list_(pa.float32())), ("entropies", pa.list_(pa.float32())),
    ("text", pa.string()), ("finished", pa.bool_()), ("label", pa.string()), ("answer", pa.string()), ("reason", pa.string()),
    ("steps", pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string())]))),
])


# ---------------------------------------------------------------- writing


def with_steps(rollouts: Rollouts) -> Rollouts:
    """The rollouts with `extras["steps"]`: per row [(start, end, label), ...], where the world's checker knows steps."""
    steps = [place_steps(p.prompt, text) if any_world(p.world).family == "chain" else []
             for p, text in zip(rollouts.problems, rollouts.texts)]
    return rollouts.but(extras=rollouts.extras | {"steps": steps})


def without_uniform(rollouts: Rollouts) -> tuple[list[int], Counter]:
    """The rows of the groups that hold both verdicts, and how many groups were dropped, by kind."""
    right_N, rows, dropped = rollouts.correct_N, [], Counter()
    for group in rollouts.group_N.unique().tolist():
        mine = (rollouts.group_N == group).nonzero()[:, 0]
        wins = int(right_N[mine].sum())
        if wins in (0, len(mine)):
            dropped["all_right" if wins else "all_wrong"] += 1
        else:
            rows += mine.tolist()
    return rows, dropped


def rows_of(rollouts: Rollouts, chosen: list[int]) -> list[dict]:
    """Rows of the table."""
    lengths, rows = rollouts.mask_NT.sum(1).long().tolist(), []
    for row in chosen:
        problem, verdict, n = rollouts.problems[row], rollouts.verdicts[row], lengths[row]
        rows.append({
            "key": problem.key, "prompt": problem.prompt, "gold": problem.gold, "level": problem.level,
            "tokens": rollouts.tokens_NT[row, :n].tolist(), "logprobs": rollouts.logprobs_NT[row, :n].tolist(),
            "entropies": rollouts.entropies_NT[row, :n].tolist(), "text": rollouts.texts[row],
            "finished": bool(rollouts.finished_N[row]), "label": verdict.label, "answer": verdict.answer,
            "reason": verdict.reason,
            "steps": [{"start": s, "end": e, "label": label} for s, e, label in rollouts.extras["steps"][row]]})
    return rows


def count_rows(rows: list[dict]) -> Counter:
    """What a manifest counts: answers and tokens by verdict, and wrong answers' tokens by the label of their step."""
    found = Counter()
    for row in rows:
        side, tokens = ("right" if row["label"] == "correct" else "wrong"), len(row["tokens"])
        found[side] += 1
        found[f"{side}_tokens"] += tokens
        if side == "wrong":
            by_label = Counter()
            for step in row["steps"]:
                by_label[step["label"]] += step["end"] - step["start"]
            by_label[UNLABELLED] = tokens - by_label.total()
            found.update({f"wrong_tokens/{label}": n for label, n in by_label.items()})
    return found


def write_answers(folder: Path, parts: Iterator[Rollouts], about: dict, uniform: bool = False) -> dict:
    """Write a data set, batch after batch, then its manifest; nobody sees a half of it.

    Args:
        parts: judged rollouts in whole groups, all of one size.
        about: who wrote them and how.
        uniform: keep groups of one verdict.

    Returns:
        The manifest.

    Raises:
        ConfigError: no group is left.
    """
    counts, kept, drawn, dropped, part_file = Counter(), 0, 0, Counter(), folder / f".{FILE}.part"
    folder.mkdir(parents=True, exist_ok=True)
    with clear_storage_errors(part_file), pa.OSFile(str(part_file), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA) as writer:
        for part in parts:
            part = with_steps(part)
            drawn += len(part)
            chosen, lost = (list(range(len(part))), Counter()) if uniform else without_uniform(part)
            dropped += lost
            rows = rows_of(part, chosen)
            kept += len({row["key"] for row in rows})
            counts += count_rows(rows)
            if rows:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
    if not kept:
        part_file.unlink()
        raise ConfigError(f"No problem is left for {folder.name}: the answers of each are all right or all wrong.")
    labels = {name.partition("/")[2]: n for name, n in sorted(counts.items()) if "/" in name}
    manifest = {
        "format": FORMAT, **about, "drawn": drawn, "problems": kept,
        "dropped": {"all_right": dropped["all_right"], "all_wrong": dropped["all_wrong"]},
        **{name: counts[name] for name in ("right", "wrong", "right_tokens", "wrong_tokens")},
        "wrong_tokens_by_label": labels, "bytes": part_file.stat().st_size, "sha256": file_digest(part_file)}
    part_file.replace(folder / FILE)
    write_atomic(folder / MANIFEST, (strict_json(manifest, indent=1) + "\n").encode())
    return manifest


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def draw_parts(policy: Policy, problems: list[Problem], answers: int, temperature: float, label) -> Iterator[Rollouts]:
    """Judged answers to all problems, some problems at a time."""
    sampler = make_sampler(policy, temperature=temperature)
    for at in range(0, len(problems), AT_A_TIME):
        part = sampler.sample(problems[at : at + AT_A_TIME], answers, label)
        yield part.but(verdicts=verify(part.problems, part.texts, part.finished_N.tolist()))


# ---------------------------------------------------------------- reading


@dataclass
class Answers:
    """An open data set: a sampler of what was written."""

    folder: Path
    manifest: dict
    table: pa.Table  # memory-mapped
    problems: list[Problem]  # one per group, in the file's order
    first: dict[str, int]  # key -> its first row
    encode: Callable[[str], list[int]] = lambda prompt: []  # prompt -> tokens, of the policy that trains on it
    pad: int = 0

    def sample(self, problems: list[Problem], rollouts_per_prompt: int, seed=None) -> Rollouts:
        """The stored answers to some problems. Nothing is drawn, so `seed` decides nothing.

        Raises:
            ConfigError: another number of answers than the set holds, or a problem that is not in it.
        """
        size = self.manifest["answers"]
        if rollouts_per_prompt != size:
            raise ConfigError(f"{self.folder.name} holds {size} answers to a problem, not {rollouts_per_prompt}.")
        if missing := [p.key for p in problems if p.key not in self.first]:
            raise ConfigError(f"{self.folder.name} holds no answers to {missing[0]}.")
        rows = [row for p in problems for row in self.table.slice(self.first[p.key], size).to_pylist()]
        world, groups = self.manifest["world"], torch.arange(len(problems)).repeat_interleave(size)
        return Rollouts(
            problems=[Problem(world, r["prompt"], r["gold"], r["key"], r["level"]) for r in rows], group_N=groups,
            prompt_ids=[ids for p in problems for ids in [self.encode(p.prompt)] * size],
            **_padded(rows, self.pad), finished_N=torch.tensor([r["finished"] for r in rows]),
            texts=[r["text"] for r in rows],
            verdicts=[Verdict(r["label"], r["answer"], r["gold"], r["reason"]) for r in rows],
            drawn=0, max_new_tokens=self.manifest["sampling"]["max_new_tokens"],
            extras={"steps": [[(s["start"], s["end"], s["label"]) for s in r["steps"]] for r in rows]})


def _padded(rows: list[dict], pad: int) -> dict:
    """tokens_NT, mask_NT, logprobs_NT, entropies_NT of some rows."""
    longest = max(len(r["tokens"]) for r in rows)
    lengths_N = torch.tensor([len(r["tokens"]) for r in rows])
    mask_NT = (torch.arange(longest)[None] < lengths_N[:, None]).float()
    filled = {name: torch.tensor([r[name] + [pad if name == "tokens" else 0.0] * (longest - len(r[name])) for r in rows])
              for name in ("tokens", "logprobs", "entropies")}
    return {f"{name}_NT": values_NT for name, values_NT in filled.items()} | {"mask_NT": mask_NT}


def read_manifest(folder: Path) -> dict:
    """A data set's manifest.

    Raises:
        Damaged: it is missing, no JSON, or of a format that this version does not read.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Damaged(f"{folder} holds no {MANIFEST}, so it is no data set of answers or an unfinished one") from None
    except ValueError:
        raise Damaged(f"{path} is damaged (it is no JSON); delete {folder} to have it drawn again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise Damaged(f"{path} is of another format than {FORMAT}; delete {folder} to have it drawn again")
    return manifest


def open_answers(folder: Path, policy: Policy | None = None, share: float = 1.0) -> Answers:
    """Open a data set, if it is whole: every byte is compared with the manifest's checksum.

    Args:
        policy: whose tokenizer reads the prompts; None if nobody trains on it.
        share: of its problems; the first so many.

    Raises:
        Damaged: the file is missing, truncated or altered, or the manifest is.
    """
    manifest, path = read_manifest(folder), folder / FILE
    again = f"delete {folder} to have it drawn again"
    if not path.exists():
        raise Damaged(f"{path} is missing; {again}")
    if (size := path.stat().st_size) < manifest["bytes"]:
        raise Damaged(f"{path} is truncated ({size:,} of {manifest['bytes']:,} bytes); {again}")
    if size != manifest["bytes"] or file_digest(path) != manifest["sha256"]:
        raise Damaged(f"{path} was altered (its checksum is not the manifest's); {again}")
    table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    size = manifest["answers"]
    heads = table.select(["key", "prompt", "gold", "level"]).take(list(range(0, len(table), size))).to_pylist()
    heads = heads[: max(1, round(share * len(heads)))]
    problems = [Problem(manifest["world"], r["prompt"], r["gold"], r["key"], r["level"]) for r in heads]
    found = Answers(folder, manifest, table, problems, {p.key: i * size for i, p in enumerate(problems)})
    if policy is not None:
        found.encode, found.pad = policy.encode_prompt, policy.tokenizer.pad_token_id or 0
    return found


# ---------------------------------------------------------------- the data set of a run


def identity_of(config: RunConfig, stream) -> dict:
    """What decides a data set's rows. Which share of it is read, and how often it is drawn anew, is no part of it."""
    offline = config.offline
    return {"world": config.world, "writer": (offline.writer or config.start).identity, "stream": str(stream),
            "seed": config.seed, "problems": offline.problems, "answers": offline.answers,
            "temperature": config.temperature, "uniform": offline.uniform}


def stored_answers(config: RunConfig, policy: Policy, policy_of: Callable[[StartConfig], Policy], stream) -> Answers:
    """The data set that a run trains on: opened if it is there, else drawn. Runs with the same one share it.

    Args:
        policy: the run's own, at its start.
        policy_of: makes or loads the policy of another start, where another one wrote the answers.

    Raises:
        Damaged: it is there and not whole.
    """
    offline, identity = config.offline, identity_of(config, stream)
    name = f"{config.world}-{(offline.writer or config.start).corpus}-s{config.seed}-{content_hash(identity)}"
    folder = RunFolder(name, identity, runs_root() / "answers")
    with folder.lock():
        if not (folder.path / MANIFEST).exists():
            say(f"answers {name}: {offline.problems} problems, {offline.answers} answers to each")
            writer = policy_of(offline.writer) if offline.writer else policy
            write_set(folder.path, config, writer, f"{stream}/offline", identity)
    return open_answers(folder.path, policy, offline.share)


def drawn_anew(folder: Path, config: RunConfig, policy: Policy, stream, number: int, first: bool) -> Answers:
    """The answers of a later round, written by the policy itself; at a round's first step they are drawn.

    Raises:
        Damaged: a run continues within a round whose answers are gone or not whole.
    """
    written = (folder / MANIFEST).exists() and read_manifest(folder)["policy"]
    if first and written != weights_hash(policy.model):
        identity = identity_of(config, stream) | {"round": number}
        write_set(folder, config, policy, f"{stream}/offline/{number}", identity)
    return open_answers(folder, policy, config.offline.share)


def write_set(folder: Path, config: RunConfig, writer: Policy, label: str, identity: dict) -> dict:
    """Draw the answers to a training pool and write them."""
    offline, world = config.offline, any_world(config.world)
    problems = world.draw("train", offline.problems, config.seed)
    about = {"world": config.world, "split": "train", "seed": config.seed, "identity": identity, "answers": offline.answers,
             "sampling": {"temperature": config.temperature, "max_new_tokens": writer.served.longest_in(world)},
             "policy": weights_hash(writer.model)}
    return write_answers(folder, draw_parts(writer, problems, offline.answers, config.temperature, label), about,
                         offline.uniform)
