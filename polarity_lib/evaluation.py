"""How good a policy is: repeated sampling, unbiased pass@k, greedy against sampled."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from polarity_lib.config import ConfigError, RunConfig
from polarity_lib.diagnostics import shows_work, token_average
from polarity_lib.engines import make_sampler
from polarity_lib.policy import Policy
from polarity_lib.problems import WORLDS, Problem, any_world
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import count_labels, verify

PROBE_PROBLEMS = 100  # of the test split, for further measurements of a finished run
PROBE_SAMPLES = 32


def pass_at_k(samples: int, correct, k: int) -> np.ndarray:
    """Unbiased probability that at least one of k answers is right.

        1 - C(n - c, k) / C(n, k) = 1 - prod_{j=n-c+1..n} (1 - k / j)

    Args:
        samples: n, answers drawn per problem.
        correct: c, right ones among them, per problem.
        k: at most n. At k = n it is plainly "any right", with the highest variance.

    Raises:
        ValueError: k > n (no unbiased estimate exists), k < 1, counts outside 0..n or no whole numbers.

    Source: Chen et al. 2021, arXiv 2107.03374; used by arXiv 2506.01347.
    """
    for name, numbers in (("samples", [samples]), ("correct", correct)):
        if not np.array_equal(np.asarray(numbers), np.asarray(numbers, dtype=float).round()):  # NaN too
            raise ValueError(f"{name} must be whole numbers; got {np.asarray(numbers).tolist()[:5]}.")
    samples, correct = int(samples), np.asarray(correct, dtype=int)
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples per problem and k >= 1; there are {samples}.")
    if correct.size and not (0 <= correct.min() and correct.max() <= samples):
        raise ValueError(f"correct counts must lie in 0..{samples}.")
    # One product per possible count; a factor 1 - k/j is 0 at j = k and never negative for j >= k.
    j = np.arange(samples, 0, -1)
    factors = np.clip(1.0 - k / j, 0.0, None)
    fail = np.concatenate([[1.0], np.cumprod(factors)])
    return 1.0 - fail[correct]


def powers_of_two(limit: int) -> list[int]:
    """1, 2, 4, ... up to the limit: the k of every pass@k curve."""
    return [2**i for i in range(limit.bit_length()) if 2**i <= limit]


def evaluate(policy: Policy, problems: list[Problem], samples: int, seed, temperature: float = 1.0,
             top_p: float = 1.0) -> tuple[dict[str, float], pd.DataFrame]:
    """Sample every problem `samples` times and once greedily.

    Returns:
        metrics: pass@k for k = 1, 2, 4, ... <= samples, greedy accuracy,
            token-mean entropy (nats), mean length, share of each verdict label,
            share of answers that show their work, and distinct right answers
            per problem.
        counts: one row per problem: key, level, samples, correct, greedy.
    """
    policy.model.eval()
    rollouts = make_sampler(policy, temperature=temperature, top_p=top_p).sample(problems, samples, seed)
    verdicts = verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist())
    greedy = make_sampler(policy, greedy=True).sample(problems, 1, seed)
    greedy_right = [v.is_correct for v in verify(greedy.problems, greedy.texts, greedy.finished_N.tolist())]
    right = np.array([v.is_correct for v in verdicts]).reshape(len(problems), samples).sum(1)
    metrics = {f"pass@{k}": float(pass_at_k(samples, right, k).mean()) for k in powers_of_two(samples)}
    metrics["greedy"] = float(np.mean(greedy_right))
    metrics["entropy"] = token_average(rollouts.entropies_NT, rollouts.mask_NT)
    metrics["length"] = float(rollouts.mask_NT.sum(1).mean())
    metrics |= {f"verdicts/{label}": n / len(verdicts) for label, n in count_labels(verdicts).items()}
    metrics["work_shown"] = float(shows_work(rollouts).numpy().mean())
    metrics["distinct"] = distinct_right(rollouts.texts, verdicts, samples)
    counts = pd.DataFrame({
        "problem": [p.key for p in problems], "level": [p.level for p in problems],
        "samples": samples, "correct": right, "greedy": np.array(greedy_right, dtype=int),
    })
    return metrics, counts


def distinct_right(texts: list[str], verdicts, samples: int) -> float:
    """Mean number of different right answers per problem among its samples."""
    blocks = range(0, len(texts), samples)
    found = [len({t for t, v in zip(texts[b : b + samples], verdicts[b : b + samples]) if v.is_correct})
             for b in blocks]
    return float(np.mean(found))


def gather_counts(counts: pd.DataFrame, k: int) -> np.ndarray:
    """pass@k per problem from a stored count table, whose problems may have different numbers of samples.

    Raises:
        ValueError: as `pass_at_k`.
    """
    found = np.empty(len(counts))
    for samples in counts.samples.unique():
        rows = (counts.samples == samples).to_numpy()
        found[rows] = pass_at_k(samples, counts.correct[rows], k)
    return found


def sample_test(policy: Policy, config: RunConfig, label: str, problems: int = PROBE_PROBLEMS,
                samples: int = PROBE_SAMPLES, times: int = 1) -> Rollouts:
    """Judged answers to the first problems of the test split; `times` as many as asked for, or as the run's scale draws."""
    chosen = any_world(config.world).draw("test", min(problems, config.final_problems), config.seed)
    samples = min(samples, config.final_samples) * times
    rollouts = make_sampler(policy).sample(chosen, samples, f"{config.seed}/probe/{label}")
    return rollouts.but(verdicts=verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist()))


def asks(family: str = "", samples: int = 1) -> Callable:
    """Decorator: what a probe asks of a run, whose worlds and how many answers to a test problem. See `refuse_probe`."""

    def mark(probe: Callable) -> Callable:
        probe.family, probe.samples = family, samples
        return probe

    return mark


def refuse_probe(name: str, probe: Callable, config: RunConfig) -> None:
    """Say before training that a run cannot be asked this after it.

    Raises:
        ConfigError: a world of another family, or too few answers.
    """
    family, samples = getattr(probe, "family", ""), getattr(probe, "samples", 1)
    if family and any_world(config.world).family != family:
        valid = ", ".join(sorted(w.name for w in WORLDS.values() if w.family == family))
        raise ConfigError(f"Probe {name} reads answers of {family} worlds, and {config.world} is none. Valid: {valid}.")
    if config.final_samples < samples:
        raise ConfigError(f"Probe {name} wants final_samples of {samples} or more, not {config.final_samples}.")


@torch.no_grad()
def sampler_gap(sampled_NT, trained_NT, mask_NT) -> float:
    """Mean absolute difference of log-probabilities between sampler and trainer, over response tokens."""
    return token_average((sampled_NT - trained_NT.detach().cpu()).abs(), mask_NT)
