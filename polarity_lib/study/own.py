"""Your own rollouts: what each method would do with a batch that somebody else's run has logged.

    table   = read_table("completions/")                parquet, CSV, JSON lines; a file or a folder of them
    columns = find_columns(table, "reward=my_score")    which column holds what; names as TRL and verl write them are known
    batches = to_batches(table, columns)                one record of rollouts per logged step
    effects(batches[-1], methods)                       dead groups, gradient by polarity, rows thrown away, method by method
    agreement(batches[-1], methods)                     cosines between the methods' updates
    recheck(table, columns)                             verdicts again by our verifier, the disagreements first

Nothing is trained. A weight is what multiplies a token's gradient of its log-probability in the first update on the batch
(`mechanism.token_weights`); positive makes the token likelier. Without logged log-probabilities, methods that read them say so.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from polarity_lib.config import ConfigError, choose, is_number
from polarity_lib.integrations.shared import Absent, as_rollouts, reads
from polarity_lib.mechanism import token_weights
from polarity_lib.methods import Progress, collect_fixed, method_named
from polarity_lib.outside import Told, first_line
from polarity_lib.registry import METHODS
from polarity_lib.results import ROOT
from polarity_lib.rollouts import Rollouts

EXAMPLE = ROOT / "data" / "example_rollouts.jsonl"  # sampled from a tiny policy of ours
READERS: dict[str, Callable] = {
    ".parquet": pd.read_parquet, ".csv": pd.read_csv,
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False, convert_dates=False),
    ".json": lambda path: pd.read_json(path, dtype=False, convert_dates=False)}
RIGHT_WORDS = {"correct", "right", "true", "1", "1.0", "yes"}


class BadTable(ValueError, Told):
    """A table that cannot be read as rollouts; the message says what is missing."""


# ---------------------------------------------------------------- reading


def read_table(path: str | Path) -> pd.DataFrame:
    """One file, or all files of one kind in a folder, in the order of the numbers in their names.

    Raises:
        BadTable: nothing there, another format, files of several kinds, no rows.
    """
    path = Path(path).expanduser()
    files = sorted((p for p in path.iterdir() if p.suffix in READERS), key=_by_number) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise BadTable(f"{path}: there is no table (known: {', '.join(READERS)}).")
    if files[0].suffix not in READERS:
        raise BadTable(f"{path}: {files[0].suffix or 'a file without an ending'} is not known; known: {', '.join(READERS)}.")
    kinds = {file.suffix: file.name for file in reversed(files)}
    if len(kinds) > 1:  # such as a run's settings beside its rollouts: nothing tells which are the table
        raise BadTable(f"{path}: holds files of several kinds ({', '.join(sorted(kinds.values()))}); "
                       "name one file, or a folder whose tables are of one kind.")
    try:
        table = pd.concat([READERS[file.suffix](file) for file in files], ignore_index=True)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise BadTable(f"{path}: cannot be read: {first_line(error)}") from error
    if table.empty:
        raise BadTable(f"{path}: the table has no rows.")
    return table


def _by_number(path: Path) -> tuple:
    return [int(n) for n in re.findall(r"\d+", path.stem)], path.name


@dataclass(frozen=True)
class Columns:
    """Which column of a table holds what; "" for none.

    Attributes:
        reward: several, joined by +, are added up, as TRL adds up its reward functions.
        verdict: words; correct, right and true mean right.
        group: which prompt; without it, rows of one step with one prompt are a group.
        step: which batch.
        logprobs, entropies: a list of numbers per row, one per token of the response.
        tokens: a list of texts or ids per row, one per token.
    """

    prompt: str = ""
    response: str = ""
    reward: str = ""
    verdict: str = ""
    group: str = ""
    gold: str = ""
    step: str = ""
    logprobs: str = ""
    entropies: str = ""
    tokens: str = ""

    def told(self) -> str:
        return ", ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name))


# The first that is there counts. TRL writes prompt, completion and a column per reward function; verl input, output, gts, score.
KNOWN = {
    "prompt": ("prompt", "input", "question", "problem"), "response": ("response", "completion", "output", "text"),
    "reward": ("reward", "score", "acc"), "verdict": ("verdict", "label", "correct", "is_correct"),
    "group": ("group", "uid", "group_id", "prompt_id"), "gold": ("gold", "answer", "gts", "ground_truth", "solution"),
    "step": ("step", "global_step"), "logprobs": ("logprobs", "log_probs", "old_log_probs", "token_logprobs"),
    "entropies": ("entropies", "token_entropies"), "tokens": ("tokens", "completion_ids", "response_ids", "token_ids"),
}
NO_REWARD = {"advantage", "advantages", "length", "seed", "index", "epoch"}


def find_columns(table: pd.DataFrame, mapping: str = "") -> Columns:
    """Which column holds what: what `mapping` says ("response=text,reward=a+b"), else the known names.

    Where no column is called a reward or a verdict, the numeric columns that are nothing else are TRL's reward functions.

    Raises:
        ConfigError: the mapping names an unknown part or a column that is not there.
        BadTable: no prompt or group, no response, or neither reward nor verdict.
    """
    given = {}
    for pair in filter(None, (part.strip() for part in mapping.split(","))):
        part, _, column = pair.partition("=")
        choose("part of a rollout", part.strip(), KNOWN)
        for name in column.split("+"):
            choose("column", name.strip(), list(map(str, table.columns)))
        given[part.strip()] = column.strip()
    found = {part: given.get(part) or next((n for n in names if n in table.columns), "") for part, names in KNOWN.items()}
    if not found["reward"] and not found["verdict"]:
        rest = [c for c in table.columns if c not in {*found.values(), *NO_REWARD} and _is_number(table[c])]
        found["reward"] = "+".join(rest)
    if not (found["prompt"] or found["group"]):
        raise BadTable(f"which column holds the prompt or the group? There are {', '.join(map(str, table.columns))}.")
    if not (found["response"] or found["tokens"]):
        raise BadTable(f"which column holds the response? There are {', '.join(map(str, table.columns))}.")
    if not (found["reward"] or found["verdict"]):
        raise BadTable(f"which column holds the reward or the verdict? There are {', '.join(map(str, table.columns))}.")
    return Columns(**found)


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def right_rows(table: pd.DataFrame, columns: Columns, right_above: float = 0.5) -> pd.Series:
    """[N] true where the log says right: by its reward, or by its verdict where there is no reward. No number counts as wrong.

    Raises:
        ConfigError: a threshold that is no finite number.
    """
    if not is_number(right_above):
        raise ConfigError(f"right_above is the reward above which an answer is right, a finite number, not {right_above!r}.")
    if columns.reward:
        total = sum(pd.to_numeric(table[name.strip()], errors="coerce").fillna(0.0) for name in columns.reward.split("+"))
        return total > right_above
    return table[columns.verdict].map(lambda value: str(value).strip().lower() in RIGHT_WORDS)


def write_example(path: Path = EXAMPLE) -> None:
    """Sample the example: 24 countdown problems, 8 answers each, from a policy that is trained for a minute."""
    from polarity_lib.config import StartConfig
    from polarity_lib.engines import make_sampler
    from polarity_lib.outside import strict_json
    from polarity_lib.pretraining import base_policy
    from polarity_lib.problems import world_named
    from polarity_lib.verification import verify

    policy = base_policy(StartConfig("countdown", "smoke", 700, 0, batch=64))
    rollouts = make_sampler(policy).sample(world_named("countdown3").draw("train", 24, 0), 8, "example")
    verdicts = verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist())
    lines = []
    for i, n in enumerate(rollouts.mask_NT.sum(1).int().tolist()):
        lines.append(strict_json({
            "step": 1, "uid": int(rollouts.group_N[i]), "prompt": rollouts.problems[i].prompt, "response": rollouts.texts[i],
            "reward": float(verdicts[i].is_correct), "verdict": verdicts[i].label,
            "tokens": [policy.tokenizer.decode([t]) for t in rollouts.tokens_NT[i, :n].tolist()],
            "logprobs": [round(x, 4) for x in rollouts.logprobs_NT[i, :n].tolist()],
            "entropies": [round(x, 4) for x in rollouts.entropies_NT[i, :n].tolist()]}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# ---------------------------------------------------------------- records


def words(text: str) -> list[str]:
    """A text in pieces that put together give it back: words with the space before them."""
    return re.findall(r"\s*\S+|\s+$", text) or [""]


def as_list(value) -> list | None:
    """A cell that holds a list, also where CSV made it a text; None where it holds none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return None
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else None


def text_of(value) -> str:
    """A prompt or response: a text, or a conversation's last message."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        return str(value[-1].get("content", ""))
    return "" if value is None or value is np.nan else str(value)


@dataclass(frozen=True)
class Batch:
    """One logged step.

    Attributes:
        pieces: [N] what each token reads; words where the log holds no tokens.
        by_words: words stand for tokens, so lengths are only roughly right.
    """

    step: object
    rollouts: Rollouts
    pieces: list[list[str]]
    by_words: bool


def to_batches(table: pd.DataFrame, columns: Columns, right_above: float = 0.5, max_new_tokens: int = 0) -> list[Batch]:
    """A record of rollouts per step, groups together.

    Args:
        max_new_tokens: the longest answer the run allowed; 0: the longest of the table.

    Raises:
        BadTable: rows without a step, a group or, where there are no groups, a prompt; without log-probabilities or
            entropies where others have them; with more or fewer of these than tokens.
    """
    for name in filter(None, (columns.step, columns.group or columns.prompt)):
        _refuse_holes(name, [_is_hole(x) for x in table[name]], "nothing")
    for name in filter(None, (columns.logprobs, columns.entropies)):
        _refuse_holes(name, [as_list(x) is None for x in table[name]], "no list of numbers")
    counted_by = _counted_by(table, columns)
    table = table.assign(_right=right_rows(table, columns, right_above), _row=range(len(table)))
    steps = table[columns.step] if columns.step else pd.Series(0, index=table.index)
    longest = max_new_tokens or max(1, *map(len, _pieces(table, columns, counted_by)))
    return [_batch(step, rows, columns, counted_by, longest) for step, rows in table.groupby(steps, sort=False)]


def _is_hole(value) -> bool:
    """Whether a cell says nothing; CSV reads an empty text as a missing one, so they count alike."""
    return value is None or (pd.api.types.is_scalar(value) and pd.isna(value)) or not text_of(value).strip()


def _refuse_holes(column: str, holes: list[bool], what: str) -> None:
    """One line where any row has a hole: left out, or put together, such rows would change groups without a word."""
    if any(holes):
        raise BadTable(f"{column}: {sum(holes)} of {len(holes)} rows hold {what}, the first is row {holes.index(True)}; "
                       "fill them in or leave them out.")


def _counted_by(table: pd.DataFrame, columns: Columns) -> str:
    """The column whose lists say how many tokens answers have; "" where none does, and words stand for tokens.

    Of the whole table: an empty list is one empty answer, and says nothing about the others.
    """
    for name in filter(None, (columns.tokens, columns.logprobs, columns.entropies)):
        lists = [as_list(x) for x in table[name]]
        if any(lists) and None not in lists:
            return name
    return ""


def _pieces(rows: pd.DataFrame, columns: Columns, counted_by: str) -> list[list[str]]:
    """What each token reads, or each word."""
    responses = [text_of(x) for x in rows[columns.response]] if columns.response else [""] * len(rows)
    if not counted_by:
        return [words(text) for text in responses]
    are_tokens = counted_by == columns.tokens
    return [_named(as_list(x), text, are_tokens) for x, text in zip(rows[counted_by], responses)]


def _named(values: list, text: str, are_tokens: bool) -> list[str]:
    """Texts of tokens: themselves, or the text's characters or words where their number fits, else numbers."""
    if are_tokens and all(isinstance(v, str) for v in values):
        return values
    for pieces in (list(text), words(text)):
        if len(pieces) in (len(values), len(values) - 1):  # the last may be an end of text
            return (pieces + ["⏎"])[: len(values)]
    return [f"·{i}" for i in range(len(values))]


def _batch(step, rows: pd.DataFrame, columns: Columns, counted_by: str, longest: int) -> Batch:
    keys = [text_of(x) for x in rows[columns.group or columns.prompt]]
    number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    order = sorted(range(len(rows)), key=lambda i: (number[keys[i]], i))
    rows, keys = rows.iloc[order], [keys[i] for i in order]
    pieces = _pieces(rows, columns, counted_by)
    length_N = torch.tensor([len(p) for p in pieces])
    mask_NT = (torch.arange(max(1, int(length_N.max())))[None] < length_N[:, None]).float()
    rollouts = as_rollouts(
        right_N=torch.tensor(rows["_right"].to_numpy(dtype=bool)), group_N=torch.tensor([number[k] for k in keys]),
        mask_NT=mask_NT, logprobs_NT=_per_token(rows, columns.logprobs, mask_NT),
        entropies_NT=_per_token(rows, columns.entropies, mask_NT), max_new_tokens=longest, keys=keys)
    prompts = [text_of(x) for x in rows[columns.prompt]] if columns.prompt else keys
    problems = [replace(problem, prompt=prompt) for problem, prompt in zip(rollouts.problems, prompts)]
    return Batch(step, rollouts.but(problems=problems, texts=["".join(p) for p in pieces]), pieces, not counted_by)


def _per_token(rows: pd.DataFrame, column: str, mask_NT: Tensor) -> Tensor | None:
    if not column:
        return None
    values_NT = torch.zeros_like(mask_NT)
    for i, (value, length) in enumerate(zip(rows[column], mask_NT.sum(1).int().tolist())):
        numbers = as_list(value)
        if len(numbers) != length:
            raise BadTable(f"{column}: row {int(rows['_row'].iloc[i])} has {len(numbers)} numbers and {length} tokens.")
        try:
            found = torch.tensor([float(x) for x in numbers])
        except (TypeError, ValueError):
            found = torch.tensor([float("nan")])
        if not torch.isfinite(found).all():
            raise BadTable(f"{column}: row {int(rows['_row'].iloc[i])} holds something else than finite numbers, one per token.")
        values_NT[i, :length] = found
    return values_NT


# ---------------------------------------------------------------- what methods do with it


def weights_of(method_name: str, rollouts: Rollouts, options: dict | None = None) -> Tensor:
    """[N, T] weight of every token in the first update.

    Raises:
        ConfigError: the method cannot be shown on a log; the line says why.
    """
    method = method_named(method_name, options)
    if method.collect is not collect_fixed and "dynamic" not in (options or {}):
        try:  # what it samples is past; what it does with a batch is not
            method = method_named(method_name, {**(options or {}), "dynamic": False})
        except ConfigError as error:
            raise ConfigError("it chooses its rollouts while it samples.") from error
    if method.needs:
        raise ConfigError(f"it needs {', '.join(sorted(method.needs)).replace('_', ' ')}, which a log does not hold.")
    if reads(method, "texts"):
        raise ConfigError("it reads answers step by step, as only our own worlds write them.")
    shown = rollouts
    if isinstance(rollouts.logprobs_NT, Absent):  # a weight at pi = pi_old does not depend on it, once the advantage is known
        rewards_N = method.reward(rollouts)
        advantages_NT = method.advantage(rollouts, rewards_N, Progress(0, 1))
        method = replace(method, advantage=lambda *_: advantages_NT)
        shown = rollouts.but(logprobs_NT=torch.zeros_like(rollouts.mask_NT))
    return token_weights(method, shown) * rollouts.mask_NT


def chosen(methods: str | Sequence[str] = "all") -> list[str]:
    """Names of methods from a text; "all" for every one."""
    names = [m.strip() for m in methods.split(",")] if isinstance(methods, str) else list(methods)
    if names == ["all"]:
        return [name for name in METHODS if name != "base"]
    return [choose("method", name, METHODS) for name in names]


def first_groups(batch: Batch, count: int) -> Batch:
    """The first few groups of a batch."""
    keep_N = batch.rollouts.group_N < count
    rows, rollouts = keep_N.nonzero()[:, 0].tolist(), batch.rollouts
    picked = {name: value[keep_N] for name in ("tokens_NT", "mask_NT", "logprobs_NT", "entropies_NT", "finished_N")
              if not isinstance(value := getattr(rollouts, name), Absent)}
    listed = {name: [getattr(rollouts, name)[i] for i in rows] for name in ("problems", "prompt_ids", "texts", "verdicts")}
    fewer = rollouts.but(**picked, **listed, group_N=rollouts.group_N[keep_N])
    return Batch(batch.step, fewer, [batch.pieces[i] for i in rows], batch.by_words)


def dead_groups(rollouts: Rollouts) -> tuple[Tensor, Tensor]:
    """[N] whether a row's group is all right, and whether it is all wrong."""
    right_N, group_N = rollouts.correct_N, rollouts.group_N
    count = torch.bincount(group_N)
    wins = torch.zeros(len(count)).index_add(0, group_N, right_N.float())
    return (wins == count)[group_N], (wins == 0)[group_N]


def describe(batch: Batch) -> pd.Series:
    """The batch itself: how many, how many right, how many groups are dead."""
    rollouts = batch.rollouts
    right, wrong = dead_groups(rollouts)
    first = torch.tensor([rollouts.group_N.tolist().index(g) for g in range(int(rollouts.group_N.max()) + 1)])
    length_N, right_N = rollouts.mask_NT.sum(1), rollouts.correct_N
    return pd.Series({
        "rollouts": len(rollouts), "groups": len(first), "right": float(right_N.float().mean()),
        "groups all right": float(right[first].float().mean()), "groups all wrong": float(wrong[first].float().mean()),
        "length right": float(length_N[right_N].mean()) if right_N.any() else np.nan,
        "length wrong": float(length_N[~right_N].mean()) if (~right_N).any() else np.nan,
        "length in": "words" if batch.by_words else "tokens"}, name=batch.step)


def effects(batch: Batch, methods: str | Sequence[str] = "all") -> pd.DataFrame:
    """One row per method: what it would do with this batch.

    Columns (shares are of the summed absolute weight over tokens, NaN where a method does nothing):
        rows used          share of rollouts with any weight; the rest is thrown away
        right share        part of the weight that lies on right answers
        all-wrong share    part that lies on groups in which nothing is right
        all-right share    part that lies on groups in which everything is
        net                sum of weights over sum of absolute weights: +1 only raises, -1 only lowers
        top tenth          part that the heaviest tenth of the tokens carries
        short              part on the shorter half of the answers
        note               why a method cannot be shown
    """
    rollouts = batch.rollouts
    all_right_N, all_wrong_N = dead_groups(rollouts)
    length_N, right_N = rollouts.mask_NT.sum(1), rollouts.correct_N
    short_N = length_N <= length_N.median()
    rows = {}
    for name in chosen(methods):
        try:
            weights_NT = weights_of(name, rollouts)
        except (ConfigError, ValueError) as error:
            rows[name] = {"note": str(error)}
            continue
        size_N = weights_NT.abs().sum(1)
        total = float(size_N.sum())
        rows[name] = {"rows used": float((size_N > 0).float().mean()), "note": "" if total else "nothing to learn here"}
        if total:
            rows[name] |= {
                "right share": float(size_N[right_N].sum()) / total, "all-wrong share": float(size_N[all_wrong_N].sum()) / total,
                "all-right share": float(size_N[all_right_N].sum()) / total, "net": float(weights_NT.sum()) / total,
                "top tenth": top_share(weights_NT, rollouts.mask_NT), "short": float(size_N[short_N].sum()) / total}
    wanted = ["rows used", "right share", "all-wrong share", "all-right share", "net", "top tenth", "short", "note"]
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=wanted)


def top_share(weights_NT: Tensor, mask_NT: Tensor, share: float = 0.1) -> float:
    """Part of the summed absolute weight that the heaviest tokens carry; `share` if all weigh the same."""
    sizes = weights_NT[mask_NT > 0].abs().sort(descending=True).values
    exact = share * len(sizes)
    whole = int(exact)
    return float((sizes[:whole].sum() + (exact - whole) * sizes[whole : whole + 1].sum()) / sizes.sum())


def agreement(batch: Batch, methods: str | Sequence[str] = "all", gradient: Callable | None = None) -> pd.DataFrame:
    """Cosines between the methods' updates: 1 the same direction, 0 unrelated, -1 opposite.

    Args:
        gradient: weights_NT -> one vector, as `gradient_in` gives; None compares the weights themselves, as if every
            token moved a parameter of its own.
    """
    vectors = {}
    for name in chosen(methods):
        try:
            weights_NT = weights_of(name, batch.rollouts)
        except (ConfigError, ValueError):
            continue
        vector = (gradient or Tensor.flatten)(weights_NT).double()
        if vector.norm() > 0:
            vectors[name] = vector / vector.norm()
    stacked = torch.stack(list(vectors.values())) if vectors else torch.zeros(0, 1)
    return pd.DataFrame((stacked @ stacked.T).numpy(), index=list(vectors), columns=list(vectors)).clip(-1, 1)


def pairs(cosines: pd.DataFrame) -> pd.Series:
    """Each pair of methods once, the furthest apart first."""
    once = np.triu(np.ones(cosines.shape, dtype=bool), 1)
    found = {f"{cosines.index[i]} and {cosines.columns[j]}": cosines.iat[i, j] for i, j in zip(*once.nonzero())}
    return pd.Series(found, dtype=float).sort_values(kind="stable")


def rescored(batch: Batch, policy) -> Batch:
    """The batch in a model's own tokens, with its log-probabilities and entropies, so that every method can be shown."""
    from polarity_lib.policy import token_logprobs
    from polarity_lib.layout import pack_rows

    rollouts = batch.rollouts
    end = list(policy.ends[:1])
    ids = [policy.encode(text) + end for text in rollouts.texts]
    prompts = [policy.encode_prompt(p.prompt) for p in rollouts.problems]
    length_N = torch.tensor([len(row) for row in ids])
    mask_NT = (torch.arange(int(length_N.max()))[None] < length_N[:, None]).float()
    tokens_NT = torch.tensor([row + [0] * (mask_NT.shape[1] - len(row)) for row in ids])
    shown = rollouts.but(tokens_NT=tokens_NT, mask_NT=mask_NT, prompt_ids=prompts,
                         max_new_tokens=max(rollouts.max_new_tokens, mask_NT.shape[1]))
    with torch.no_grad():
        packed = pack_rows(shown, torch.ones(len(shown), dtype=torch.bool), policy)
        logprobs_NT, entropies_NT, _ = token_logprobs(policy.model, packed, mask_NT.to(policy.device))
    shown = shown.but(logprobs_NT=logprobs_NT.cpu().clamp(max=0.0), entropies_NT=entropies_NT.cpu().clamp(min=0.0))
    pieces = [[policy.tokenizer.decode([t]) for t in row] for row in ids]
    return Batch(batch.step, shown, pieces, by_words=False)


def gradient_in(policy, batch: Batch) -> Callable:
    """weights_NT -> the update's direction in a model's parameters: the gradient of sum_nt w_nt log pi(y_nt).

    Args:
        batch: one that `rescored` made with this model.
    """
    from polarity_lib.layout import pack_rows
    from polarity_lib.policy import token_logprobs

    rollouts = batch.rollouts
    packed = pack_rows(rollouts, torch.ones(len(rollouts), dtype=torch.bool), policy)
    logprobs_NT = token_logprobs(policy.model, packed, rollouts.mask_NT.to(policy.device))[0]
    parameters = [p for p in policy.model.parameters() if p.requires_grad]

    def gradient(weights_NT: Tensor) -> Tensor:
        total = (logprobs_NT * weights_NT.to(logprobs_NT)).sum()
        found = torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten().cpu() for p, g in zip(parameters, found)])

    return gradient


def recheck(table: pd.DataFrame, columns: Columns, right_above: float = 0.5, verifier=None) -> pd.DataFrame:
    """Every response judged again by `verify_math`; rows on which the log and the verifier differ come first.

    Raises:
        BadTable: the log holds no true answers, or no responses as text.
    """
    from polarity_lib.verification import verify_math

    if not columns.gold:
        raise BadTable("a re-check needs the true answers: which column holds them? Say gold=...")
    if not columns.response:
        raise BadTable("a re-check needs the responses as text: which column holds them? Say response=...")
    golds = [text_of(x) for x in table[columns.gold]]
    responses = [text_of(x) for x in table[columns.response]]
    verdicts = (verifier.verify if verifier else verify_math)(golds, responses)
    found = pd.DataFrame({
        "logged": np.where(right_rows(table, columns, right_above), "right", "wrong"),
        "ours": ["right" if v.is_correct else "wrong" for v in verdicts], "label": [v.label for v in verdicts],
        "gold": golds, "taken": [v.answer for v in verdicts], "why": [v.reason for v in verdicts], "response": responses})
    found["differ"] = found["logged"] != found["ours"]
    return found.sort_values("differ", ascending=False, kind="stable")


# ---------------------------------------------------------------- the viewer, the command


def view(batch: Batch, method_name: str, rows: Sequence[int]):
    """Some responses with every token shaded by its weight under a method."""
    from IPython.display import HTML

    from polarity_lib.study.notebook import shade_tokens

    weights_NT = weights_of(method_name, batch.rollouts)
    largest = float(weights_NT.abs().max()) or None
    parts = [f"<b>{method_name}</b>"]
    for row in rows:
        told = "right" if batch.rollouts.correct_N[row] else "wrong"
        caption = f"{batch.rollouts.problems[row].prompt[-120:]}  ({told})"
        parts.append(shade_tokens(batch.pieces[row], weights_NT[row, : len(batch.pieces[row])], largest, caption).data)
    return HTML("".join(parts))


def plot_effects(effects: pd.DataFrame):
    """Per method, where its weight lies: right and wrong answers of mixed groups, dead groups; and how many rows it uses."""
    import matplotlib.pyplot as plt

    from polarity_lib.plots import RIGHT, WRONG

    fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 0.32 * len(effects) + 1.4), sharey=True, width_ratios=(3, 1))
    parts = {
        "right, in mixed groups": (effects["right share"] - effects["all-right share"], RIGHT, ""),
        "all-right groups": (effects["all-right share"], RIGHT, "//"),
        "wrong, in mixed groups": (1 - effects["right share"] - effects["all-wrong share"], WRONG, ""),
        "all-wrong groups": (effects["all-wrong share"], WRONG, "//")}
    start = np.zeros(len(effects))
    for label, (share, colour, hatch) in parts.items():
        left.barh(effects.index, share, left=start, color=colour, hatch=hatch, edgecolor="white", label=label)
        start = start + share.to_numpy()
    left.invert_yaxis()
    left.set(xlim=(0, 1), xlabel="where the weight lies (share of the update)")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8)
    right.barh(effects.index, effects["rows used"], color="0.6")
    right.set(xlim=(0, 1), xlabel="rollouts used")
    return fig


def report(path: str, mapping: str = "", methods: str = "all", right_above: float = 0.5, model: str = "",
           check: bool = False, step: str = "") -> str:
    """What the command prints: the batch, the methods' table, the pairs that agree least, the verdicts that differ."""
    table = read_table(path)
    columns = find_columns(table, mapping)
    batches = {str(batch.step): batch for batch in to_batches(table, columns, right_above)}
    batch = batches[choose("step", step, batches)] if step else list(batches.values())[-1]
    gradient = None
    if model:
        from polarity_lib.loading import load_policy

        policy = load_policy(model)
        batch = rescored(batch, policy)
        gradient = gradient_in(policy, batch)
    parts = [f"read as: {columns.told()}", f"step {batch.step}, of {len(batches)} logged", describe(batch).to_string(),
             effects(batch, methods).round(3).to_string(na_rep="–")]
    cosines = agreement(batch, methods, gradient)
    what = "gradients" if model else "token weights"
    if len(cosines) > 1:
        parts.append(f"cosines of {what}, the furthest apart:\n{pairs(cosines).head(5).round(3).to_string()}")
    if check:
        judged = recheck(table, columns, right_above)
        differ = judged[judged.differ]
        parts.append(f"judged again: {len(differ)} of {len(judged)} verdicts differ\n"
                     + differ.head(10)[["logged", "ours", "gold", "taken", "why"]].to_string())
    return "\n\n".join(parts)
