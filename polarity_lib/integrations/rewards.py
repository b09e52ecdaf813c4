"""The mathematics verifier as a reward function, in the signatures of TRL and verl.

TRL:    GRPOTrainer(reward_funcs=[math_reward], ...), the true answer in a column `answer`, `solution` or `gold`
verl:   custom_reward_function.path=<this file> custom_reward_function.name=compute_score

Each pays 1.0 for a verdict `correct` and 0.0 for any other, and hands the verdict's label on.
"""

from collections.abc import Sequence

GOLD_COLUMNS = ("answer", "solution", "gold", "ground_truth")


def text_of(completion) -> str:
    """A completion as text: a string, or the last message of a conversation; "" where that says nothing, as a tool call."""
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else ""
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content or ())


def math_reward(completions: Sequence, *, log_extra=None, log_metric=None, **columns) -> list[float]:
    """TRL's signature: one reward per completion.

    Raises:
        KeyError: no column holds the true answers; the message lists what was looked for.
    """
    from polarity_lib.verification import verify_math

    gold = next((columns[name] for name in GOLD_COLUMNS if columns.get(name) is not None), None)
    if gold is None:
        raise KeyError(f"the true answers must stand in a column named {', '.join(GOLD_COLUMNS[:-1])} or {GOLD_COLUMNS[-1]}; "
                       f"there are {', '.join(sorted(columns)) or 'none'}.")
    verdicts = verify_math([str(g) for g in gold], [text_of(c) for c in completions])
    if log_extra:
        log_extra("verdict", [v.label for v in verdicts])
    if log_metric and verdicts:
        log_metric("verdicts/timed_out", sum(v.label == "timed_out" for v in verdicts) / len(verdicts))
    return [float(v.is_correct) for v in verdicts]


def compute_score(data_source, solution_str: str, ground_truth, extra_info=None, **options) -> dict:
    """verl's signature: one response, its score and what else to log."""
    from polarity_lib.verification import verify_math

    verdict, = verify_math([str(ground_truth)], [solution_str])
    return {"score": float(verdict.is_correct), "acc": float(verdict.is_correct), "verdict": verdict.label}
