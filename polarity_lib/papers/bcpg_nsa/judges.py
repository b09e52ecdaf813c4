"""Is a step right? Judges behind one small interface, and what two of them agree on.

    judge(question, steps, reference) -> one score per step, 0 (wrong) to 1 (right); NaN where it cannot tell

`steps` join to the answer; score k may use steps 1 to k alone. `reference` is the true final answer, or None.

    oracle          the exact labels of our chain worlds
    simulated       the oracle with chosen recall and false alarms; errors of two judges may have a common cause
    arithmetic      equations in a real text, computed
    LanguageJudge   any language model that is asked (the paper: Claude 3.7), with a prompt of ours
    RewardJudge     a process reward model with a threshold

A score of at least `THRESHOLD` counts as "right". The paper trusts "right" only where both judges say so:

    consensus       I = I_llm I_prm          either: 1 - (1 - I_llm)(1 - I_prm)          product: of the scores, soft

Source: arXiv 2505.14403, Eqs. 2-5. The paper's prompt, its list of errors, its reward model and its threshold are
unverified in our card; the two context rules follow the companion paper arXiv 2505.14391.
"""

import ast
import functools
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from polarity_lib.config import ConfigError, choose, derive_seed
from polarity_lib.verification import place_steps
from polarity_lib.verification.worlds import work_of

Judge = Callable[..., list[float]]
THRESHOLD = 0.5
RIGHT_LABELS = ("right", "repaired")  # of `label_steps`: an operation worked out on the true value, a repair


# ---------------------------------------------------------------- our worlds


@functools.lru_cache(maxsize=1 << 16)
def step_labels(question: str, steps: tuple[str, ...]) -> tuple[str, ...]:
    """The exact label of each step of a chain answer: right, wrong, follows, repaired; "final" for what states the answer.

    A step that holds no line the checker knows (a stray mark) is wrong. An answer that was cut off, or ended without its
    final "#", has the labels of its lines and no "final".
    """
    if not steps:  # nothing was worked out; the question need not be one of a chain then
        return ()
    text, found, at = "".join(steps), [], 0
    placed = {start: label for start, _, label in place_steps(question, text)}
    work = len(work_of(text))
    for step in steps:
        inside = [label for start, label in placed.items() if at <= start < at + len(step)]
        found.append("final" if at >= work and "#" in step else inside[0] if inside else "wrong")
        at += len(step)
    return tuple(found)


def oracle(question: str, steps: Sequence[str], reference: str | None = None) -> list[float]:
    """1.0 for a step that is right given the true state, or that repairs an error; 0.0 for an error, for what follows
    from one, and for the final answer unless it is `reference`."""
    labels = step_labels(question, tuple(steps))
    return [float(label in RIGHT_LABELS or (label == "final" and reference is not None and step == f"#{reference}"))
            for step, label in zip(steps, labels)]


@dataclass(frozen=True)
class Simulated:
    """The oracle with errors.

    Attributes:
        recall: share of right steps called right.
        false_alarm: share of other steps called right.
        name: another name errs elsewhere.
        shared: probability that an error's cause is common to all judges with `shared` above 0; 0: independent.
    """

    recall: float
    false_alarm: float
    name: str = "judge"
    shared: float = 0.0

    def __post_init__(self):
        for field in ("recall", "false_alarm", "shared"):
            if not 0 <= getattr(self, field) <= 1:
                raise ConfigError(f"{field} must be between 0 and 1, not {getattr(self, field)!r}.")

    def __call__(self, question: str, steps: Sequence[str], reference: str | None = None) -> list[float]:
        steps = tuple(steps)
        luck = uniform_luck(self.name, self.shared, question, steps)
        rates = [self.recall if right else self.false_alarm for right in oracle(question, steps, reference)]
        return [graded(rate, u) for rate, u in zip(rates, luck)]


def graded(rate: float, u: float) -> float:
    """A score that is at least 1/2 with probability `rate` when u is uniform: sigmoid(logit(rate) + logit(u))."""
    odds_against = (1 - rate) * (1 - u)
    return rate * u / (rate * u + odds_against) if rate * u + odds_against else float(rate > 0)


def uniform_luck(name: str, shared: float, question: str, steps: tuple[str, ...]) -> np.ndarray:
    """[steps] uniform numbers of one judge for one answer; the same answer always gives the same."""
    own = np.random.default_rng(derive_seed("judge", name, question, *steps)).random((2, len(steps)))
    common = np.random.default_rng(derive_seed("judges", question, *steps)).random(len(steps))
    return np.where(own[1] < shared, common, own[0])


def precision(recall: float, false_alarm: float, share: float) -> float:
    """Share of right steps among those called right, if a share of all steps is right: r s / (r s + f (1 - s))."""
    called = recall * share + false_alarm * (1 - share)
    return recall * share / called if called else math.nan


# What stands for the paper's two judges; rates are ours (its token counts suggest that the LLM says "right" more often).
LLM_LIKE = Simulated(recall=0.9, false_alarm=0.3, name="llm")
PRM_LIKE = Simulated(recall=0.65, false_alarm=0.2, name="prm")


# ---------------------------------------------------------------- several judges


def said(judge: Judge, threshold: float = THRESHOLD) -> Judge:
    """A judge's scores as 0 or 1; NaN, "cannot tell", counts as 0."""
    def judged(question, steps, reference=None):
        return [float(score >= threshold) for score in judge(question, steps, reference)]
    return judged


def consensus(*judges: Judge) -> Judge:
    """Right where every judge says so: the paper's filter."""
    return _combined(judges, lambda scores: float(all(scores)))


def either(*judges: Judge) -> Judge:
    """Right where any judge says so."""
    return _combined(judges, lambda scores: float(any(scores)))


def product(*judges: Judge) -> Judge:
    """The product of the scores themselves: a soft label."""
    def judged(question, steps, reference=None):
        return [float(np.nan_to_num(np.prod(scores))) for scores in zip(*(j(question, steps, reference) for j in judges))]
    return judged


def _combined(judges, rule) -> Judge:
    def judged(question, steps, reference=None):
        return [rule(scores) for scores in zip(*(said(j)(question, steps, reference) for j in judges))]
    return judged


# ---------------------------------------------------------------- real text: what can be computed


_NUMBER = r"\d+(?:\.\d+)?"
EQUATION = re.compile(
    rf"(?<![\w.^)])(?P<left>[-(]*{_NUMBER}(?:\s*[-+*/×·]\s*[-(]*{_NUMBER}\)*)+)\s*=\s*"
    rf"(?P<right>-?{_NUMBER})(?![\w^(]|\.\d|\s*[-+*/×·^])")
_OPERATORS = {ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b,
              ast.Div: lambda a, b: a / b}


def value_of(expression: str) -> float:
    """The value of an expression of numbers, + - * / and parentheses. Nothing is executed.

    Raises:
        ValueError: it is no such expression, or divides by zero.
    """
    def walk(node):
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](walk(node.left), walk(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -walk(node.operand)
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        raise ValueError(f"no arithmetic: {expression}")

    try:
        return float(walk(ast.parse(expression.strip().replace("×", "*").replace("·", "*"), mode="eval").body))
    except (SyntaxError, ZeroDivisionError, OverflowError, RecursionError, MemoryError):
        raise ValueError(f"no arithmetic: {expression}") from None


def checked_equations(step: str) -> list[bool]:
    """Each equation of numbers in a text: does it hold, up to the digits that are written?"""
    found = []
    plain = re.sub(r"\\(?:times|cdot)", "*", re.sub(r"\\div", "/", step.replace(",\\!", "").replace("$", " ")))
    for equation in EQUATION.finditer(plain):
        try:
            left = value_of(equation["left"])
        except ValueError:
            continue
        digits = len(equation["right"].partition(".")[2])
        found.append(abs(left - float(equation["right"])) <= 0.5 * 10.0**-digits + 1e-9 if digits else
                     abs(left - float(equation["right"])) <= 1e-9)
    return found


def arithmetic(question: str, steps: Sequence[str], reference: str | None = None) -> list[float]:
    """1 where every equation of the step holds, 0 where one does not, NaN where there is none to check.

    It sees slips of computing alone: a sound computation on a wrong idea counts as right.
    """
    verdicts = [checked_equations(step) for step in steps]
    return [float(all(v)) if v else math.nan for v in verdicts]


# ---------------------------------------------------------------- models


PROMPT = """You judge the steps of an answer to a question. For every step say whether it may be trusted.

A step is WRONG (0) if it
- computes something incorrectly,
- states something that does not follow, or contradicts the question or a fact,
- misreads the question, or uses a quantity for another one.

Two rules about context:
- Propagation: a step without a fault of its own that builds on an earlier wrong step, and brings neither a repair nor a new
  idea, is WRONG (0).
- Termination: a step after an error that repairs it, or opens another approach that is free of error, is RIGHT (1), and so
  are the sound steps that build on it.

Judge step k by the question and steps 1 to k alone.{reference}

Question:
{question}

Steps:
{steps}

Answer with one JSON list and nothing else, one entry per step: [{{"step": 1, "score": 0 or 1, "reason": "a few words"}}, ...]"""
REFERENCE = "\nThe reference answer is {reference}; judge a step that states the final answer by it."


def judge_prompt(question: str, steps: Sequence[str], reference: str | None = None) -> str:
    """What a language model is asked. The wording is ours; the two rules are the companion paper's."""
    numbered = "\n".join(f"[{k}] {step.strip()}" for k, step in enumerate(steps, start=1))
    told = REFERENCE.format(reference=reference) if reference is not None else ""
    return PROMPT.format(question=question, steps=numbered, reference=told)


def read_scores(reply: str, steps: int) -> list[float]:
    """The scores in a model's reply; NaN for a step it did not judge, or judged by something else than 0 and 1."""
    scores = [math.nan] * steps
    try:
        entries = json.loads(reply[reply.find("["): reply.rfind("]") + 1])
    except (ValueError, RecursionError):  # no list, or one nested beyond reading
        return scores
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("score") in (0, 1) and isinstance(entry.get("step"), int):
            if 1 <= entry["step"] <= steps:
                scores[entry["step"] - 1] = float(entry["score"])
    return scores


@dataclass(frozen=True)
class LanguageJudge:
    """A language model that is asked about all steps of an answer at once.

    Attributes:
        generate: prompts -> replies; `generator` makes one.
    """

    generate: Callable[[list[str]], list[str]]

    def __call__(self, question: str, steps: Sequence[str], reference: str | None = None) -> list[float]:
        (reply,) = self.generate([judge_prompt(question, steps, reference)])
        return read_scores(reply, len(steps))


@dataclass(frozen=True)
class RewardJudge:
    """A discriminative process reward model.

    Attributes:
        reward: (question, steps) -> one number in [0, 1] per step; `step_rewards` makes one.
        threshold: lambda; a reward of at least this becomes a score of at least 1/2. The paper's is unverified.
    """

    reward: Callable[[str, Sequence[str]], list[float]]
    threshold: float = 0.5

    def __call__(self, question: str, steps: Sequence[str], reference: str | None = None) -> list[float]:
        return [r / (2 * self.threshold) if r < self.threshold else 0.5 + (r - self.threshold) / (2 * (1 - self.threshold) or 1)
                for r in self.reward(question, steps)]


ENGINES = ("transformers", "vllm")


def generator(model: str, engine: str = "transformers", max_new_tokens: int = 2048) -> Callable[[list[str]], list[str]]:
    """prompts -> greedy replies of a chat model, for `LanguageJudge`.

    Raises:
        ConfigError: unknown engine.
    """
    if choose("engine", engine, ENGINES) == "vllm":
        from vllm import LLM, SamplingParams

        served, greedy = LLM(model), SamplingParams(temperature=0.0, max_tokens=max_new_tokens)
        return lambda prompts: [out.outputs[0].text for out in served.chat([[_user(p)] for p in prompts], greedy)]
    from transformers import pipeline

    pipe = pipeline("text-generation", model=model)
    options = {"max_new_tokens": max_new_tokens, "do_sample": False, "return_full_text": False}
    return lambda prompts: [pipe([_user(p)], **options)[0]["generated_text"] for p in prompts]


def _user(text: str) -> dict:
    return {"role": "user", "content": text}


def step_rewards(model, tokenizer, separator: str, good: int = 1) -> Callable[[str, Sequence[str]], list[float]]:
    """(question, steps) -> probability of "good" where the separator behind each step stands, for `RewardJudge`.

    Args:
        model: a token classifier, as `AutoModelForTokenClassification` loads it.
        separator: one token of the tokenizer that ends a step.

    Raises:
        ConfigError: the separator is more than one token.
    """
    import torch

    mark = tokenizer(separator, add_special_tokens=False)["input_ids"]
    if len(mark) != 1:
        raise ConfigError(f"the separator {separator!r} is {len(mark)} tokens of this tokenizer; it must be one.")

    def reward(question, steps):
        ids, places = list(tokenizer(question, add_special_tokens=False)["input_ids"]), []
        for step in steps:
            ids += [*tokenizer(step, add_special_tokens=False)["input_ids"], *mark]
            places.append(len(ids) - 1)
        with torch.no_grad():
            logits_TV = model(input_ids=torch.tensor([ids])).logits[0]
        return logits_TV.softmax(-1)[places, good].tolist()

    return reward
