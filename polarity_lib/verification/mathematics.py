"""Verdicts on real mathematics.

    verdicts = verify_math(golds, responses)

Two stages. The fast path reads the final answer (`answers.py`) and compares what is
written plainly (`exact.py`, `comparison.py`); it settles most answers in a fraction of a
millisecond. What needs algebra goes to Math-Verify and sympy in guarded processes
(`symbolic.py`, `workers.py`), with limits of time and memory that no response
can exceed. Nothing in a response is ever evaluated as code.

The same texts always get the same verdict, in the order in which they came; exact
duplicates are judged once. A limit that was reached is a label of its own, never a guess.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from ..outside import cores_allowed
from .answers import MAX_ANSWER_CHARACTERS, find_answer
from .comparison import compare, too_deep
from .notation import tidy
from .verdicts import Verdict
from .workers import WorkerPool

REMEMBERED = 20_000  # settled pairs of gold and answer, then forgotten; groups repeat their answers


class MathVerifier:
    """A checker to keep: its processes stay warm between batches.

    with MathVerifier(timeout_s=5.0) as verifier:
        verdicts = verifier.verify(golds, responses)

    Args:
        timeout_s, memory_mb, workers: as for `verify_math`. No process starts before it is needed.

    Raises:
        ValueError: a limit is not positive, or `memory_mb` is below 512.
    """

    def __init__(self, timeout_s: float = 5.0, memory_mb: int = 1024, workers: int | None = None):
        if not timeout_s > 0:
            raise ValueError(f"timeout_s must be above zero seconds, got {timeout_s}")
        if memory_mb < 512:
            raise ValueError(f"memory_mb must be at least 512 (sympy alone needs about 300), got {memory_mb}")
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.pool = WorkerPool(workers or min(8, cores_allowed()), timeout_s, memory_mb)
        self._settled = {}

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    def close(self):
        """End the processes; the verifier may still be used and then starts new ones."""
        self.pool.close()

    def verify(self, golds: Sequence, responses: Sequence[str], *, truncated: Sequence | None = None) -> list[Verdict]:
        """One verdict per response, in order; see `verify_math`."""
        golds, responses, truncated = _checked(golds, responses, truncated)
        keys = list(zip(golds, responses, truncated))
        found = {key: _first_verdict(*key) for key in dict.fromkeys(keys)}
        open_keys = [key for key, first in found.items() if not isinstance(first, Verdict)]
        replies = self.decide("first", {(key[0], found[key].text) for key in open_keys})
        for key in open_keys:
            found[key] = _verdict_of_reply(key[0], found[key], replies[key[0], found[key].text])
        return [found[key] for key in keys]

    def decide(self, judge: str, pairs) -> dict:
        """Replies of the guarded processes for pairs of gold and answer; settled pairs are remembered."""
        replies = {pair: self._settled.get((judge, pair)) for pair in sorted(pairs)}
        new = [pair for pair, reply in replies.items() if reply is None]
        tasks = [{"judge": judge, "gold": gold, "answer": answer} for gold, answer in new]
        replies |= zip(new, self.pool.run(tasks))
        if len(self._settled) > REMEMBERED:
            self._settled.clear()
        self._settled |= {(judge, pair): replies[pair] for pair in new if "result" in replies[pair]}
        return replies


_shared = lru_cache(maxsize=None)(MathVerifier)


def shared_verifier(timeout_s: float = 5.0, memory_mb: int = 1024, workers: int | None = None) -> MathVerifier:
    """The verifier that all calls with these limits use, so that its processes start once."""
    return _shared(timeout_s, memory_mb, workers)


def verify_math(
    golds: Sequence,
    responses: Sequence[str],
    *,
    truncated: Sequence | None = None,
    timeout_s: float = 5.0,
    memory_mb: int = 1024,
    workers: int | None = None,
) -> list[Verdict]:
    """Judge each response against its gold answer.

    Args:
        golds: the right answers, as LaTeX or plain text (numbers are taken as written by `str`).
        responses: what the model wrote. Any text is fine, also an empty or a hostile one.
        truncated: per response, True where the sampler hit its length limit. Such a
            response is judged by an answer it had completed before the cut (a closed box, or an
            answer sentence that goes on); without one its label is `truncated`, not `no_answer`.
        timeout_s: seconds for one comparison that needs algebra, on the clock; beyond it: `timed_out`. On a busy
            machine a comparison gets the processor time it is owed, within ten times the limit.
        memory_mb: address space of one checking process, in MB, at least 512; beyond it: `timed_out`, with the reason.
        workers: checking processes at most; None for one per core, at most eight.

    Returns:
        One `Verdict` per response, in order. No text raises; a gold that is empty matches nothing.

    Raises:
        ValueError: the sequences differ in length, or a limit is out of range.
        RuntimeError: the checking processes cannot start (math-verify is not installed).
    """
    return shared_verifier(timeout_s, memory_mb, workers).verify(golds, responses, truncated=truncated)


def _checked(golds, responses, truncated):
    if isinstance(golds, str) or isinstance(responses, str):
        raise ValueError("golds and responses are sequences of texts; wrap a single text in a list")
    golds = ["" if gold is None else answer_of_gold(str(gold)) for gold in golds]
    responses = ["" if response is None else str(response) for response in responses]
    truncated = [None] * len(golds) if truncated is None else [bool(flag) for flag in truncated]
    if not len(golds) == len(responses) == len(truncated):
        raise ValueError(f"lengths differ: {len(golds)} golds, {len(responses)} responses, {len(truncated)} truncated")
    return [_encodable(gold) for gold in golds], [_encodable(text) for text in responses], truncated


def answer_of_gold(gold: str) -> str:
    """The answer in a gold that is a whole solution or carries its own box; any other gold as it is."""
    if re.search(r"\\(?:boxed|fbox)(?![a-z])|(?m:^[ \t]*####)|answer is", gold):
        found = find_answer(gold).text
        return gold if found is None else found
    return gold


def _encodable(text):
    """Lone surrogates cannot be written to a pipe or a file; they become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _first_verdict(gold, response, truncated):
    """A verdict where plain reading suffices, else the answer that must be compared by algebra."""
    understood = tidy(gold) if len(gold) <= MAX_ANSWER_CHARACTERS else gold[:MAX_ANSWER_CHARACTERS]
    found = find_answer(response, truncated)
    answer = found.text
    if answer is None:
        return Verdict("truncated" if truncated else "no_answer", None, understood, found.how)
    if not gold.strip():
        return Verdict("wrong", answer, understood, "the gold answer is empty: nothing equals it")
    if answer == gold.strip():
        return Verdict("correct", answer, understood, f"{found.how}: the same text as the gold answer")
    if len(answer) > MAX_ANSWER_CHARACTERS or too_deep(answer):
        why = "is longer or nested more deeply than an answer is"
        return Verdict("wrong", answer[:80] + "...", understood, f"{found.how}: {why}")
    result = compare(gold, answer) if len(gold) <= MAX_ANSWER_CHARACTERS else False
    return found if result is None else _verdict(result, found, understood, ", compared as written")


def _verdict(result, found, understood, by):
    label, relation = ("correct", "equals") if result else ("wrong", "does not equal")
    return Verdict(label, found.text, understood, f"{found.how}: {relation} the gold answer{by}")


def _verdict_of_reply(gold, found, reply):
    if "limit" in reply:
        return Verdict("timed_out", found.text, tidy(gold), f"{found.how}: not decided, {reply['limit']}")
    return _verdict(reply["result"], found, tidy(gold), " by algebra")
