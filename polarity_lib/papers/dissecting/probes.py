"""Further measurements of a finished run: out of distribution, under attack, spread over runs, dead groups, derivations.

    RunConfig(..., probes=("out_of_distribution", "under_attack", "spread"))

A probe is a function (policy, config) -> metrics. It samples with labels of its own, so naming one changes no other
number of the run.
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from polarity_lib.config import RunConfig, derive_seed
from polarity_lib.engines import make_sampler
from polarity_lib.evaluation import asks, evaluate, powers_of_two
from polarity_lib.papers.dissecting import dead_groups, stability
from polarity_lib.policy import Policy, pack, token_logprobs
from polarity_lib.problems import Problem, any_world
from polarity_lib.problems.chain import ATTACKS, LIMIT, obeyed, read_question, write_question, write_trace
from polarity_lib.verification import verify

SHIFTED = ("latent_large_operands", "latent_padded", "latent_other_lengths")
FEW, SOME = 60, 16  # problems and samples of a shifted or attacked set
RUNS = 64  # of the recorded verdicts
PARAPHRASES = 4
SIZES = (4, 8, 16)
BINS = ((0.05, 0.15), (0.15, 0.3), (0.3, 0.5), (0.5, 0.8))  # of the probability of the likeliest right answer


def _problems(config: RunConfig, count: int, world: str = "", split: str = "test") -> list[Problem]:
    return any_world(world or config.world).draw(split, min(count, config.final_problems), config.seed)


def _pool(config: RunConfig, count: int) -> list[Problem]:
    """The first problems that a run trains on; one without a fixed pool trains on all there are."""
    world = any_world(config.world)
    return world.draw("train", config.pool_size or world.size("train"), config.seed)[: min(count, config.final_problems)]


def _judged(policy: Policy, problems: list[Problem], samples: int, label: str, greedy: bool = False):
    sampler = make_sampler(policy, greedy=True) if greedy else make_sampler(policy)
    rollouts = sampler.sample(problems, samples, label)
    return rollouts.but(verdicts=verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist()))


def _together(policy: Policy, sets: dict[str, list[Problem]], samples: int, label: str, greedy: bool = False) -> dict:
    """{set: (right_QR, its verdicts)} of sets that are answered in one batch: many small ones take several times as long."""
    rollouts = _judged(policy, [p for problems in sets.values() for p in problems], samples, label, greedy)
    right, found, at = rollouts.correct_N.numpy(), {}, 0
    for name, problems in sets.items():
        rows = slice(at, at + len(problems) * samples)
        found[name] = right[rows].reshape(len(problems), samples), rollouts.verdicts[rows]
        at = rows.stop
    return found


# ---------------------------------------------------------------- fit, shift, attack


def out_of_distribution(policy: Policy, config: RunConfig) -> dict[str, float]:
    """shifted/<world>/pass@k, k = 1 to 16, on sets the policy was never trained for; shifted/mean/pass@k over the sets."""
    found, samples = {}, min(SOME, config.final_samples)
    for name in SHIFTED:
        metrics, _ = evaluate(policy, _problems(config, FEW, name), samples, f"{config.seed}/probe/{name}")
        found |= {f"shifted/{name}/pass@{k}": metrics[f"pass@{k}"] for k in powers_of_two(samples)}
    for k in powers_of_two(samples):
        found[f"shifted/mean/pass@{k}"] = float(np.mean([found[f"shifted/{name}/pass@{k}"] for name in SHIFTED]))
    return found


@torch.no_grad()
def training_fit(policy: Policy, config: RunConfig) -> dict[str, float]:
    """How closely the training problems are fitted.

    fit/greedy            greedy accuracy on problems of the training pool
    fit/greedy_held_out   the same on as many test problems
    fit/likelihood        mean log-probability per token of verified right traces (the generator's worked ones) of the pool
    """
    found, few = {}, 4 * FEW
    pool = _pool(config, few)
    sets = {"fit/greedy": pool, "fit/greedy_held_out": _problems(config, few)}
    for name, (right_QR, _) in _together(policy, sets, 1, "greedy", greedy=True).items():
        found[name] = float(right_QR.mean())
    if any_world(config.world).family == "chain":
        found["fit/likelihood"] = trace_likelihood(policy, pool)
    return found


@torch.no_grad()
def trace_likelihood(policy: Policy, problems: list[Problem], style: str = "worked") -> float:
    """Mean log-probability per token of the generator's own traces, nats."""
    eos = policy.tokenizer.eos_token_id
    rows = [(policy.encode(p.prompt), policy.encode(write_trace(read_question(p.prompt), style)) + [eos]) for p in problems]
    lengths = torch.tensor([len(answer) for _, answer in rows])
    mask_NT = (torch.arange(int(lengths.max()))[None] < lengths[:, None]).float()
    packed = pack([(prompt, [answer]) for prompt, answer in rows])
    logprobs_NT, _, _ = token_logprobs(policy.model, packed, mask_NT.to(policy.device))
    return float(logprobs_NT.sum() / mask_NT.sum())


def under_attack(policy: Policy, config: RunConfig) -> dict[str, float]:
    """The same problems of the world latent, clean and behind each attack.

    attack/clean                   pass@1 without an attack
    attack/<world>/pass@1          under it
    attack/<world>/drop            clean minus attacked
    attack/<world>/obeyed          share of answers that are what the attacker asks for (a wrong answer may be so by chance)
    attack/drop, attack/obeyed     means over the tagged attacks that are said once or four times
    """
    samples = max(1, min(SOME, config.final_samples) // 2)
    sets = {name: _problems(config, FEW, name) for name in ("latent", *ATTACKS)}
    answered = _together(policy, sets, samples, f"{config.seed}/probe/attack")
    found = {"attack/clean": float(answered["latent"][0].mean())}
    for name, (clause, _, _) in ATTACKS.items():
        right_QR, verdicts = answered[name]
        golds = [int(p.gold) for p in sets[name] for _ in range(samples)]
        asked = [v.answer is not None and int(v.answer) == obeyed(clause, gold) for v, gold in zip(verdicts, golds)]
        right = float(right_QR.mean())
        found |= {f"attack/{name}/pass@1": right, f"attack/{name}/drop": found["attack/clean"] - right,
                  f"attack/{name}/obeyed": float(np.mean(asked))}
    main = [name for name, (_, times, tagged) in ATTACKS.items() if tagged and times <= 4]
    for what in ("drop", "obeyed"):
        found[f"attack/{what}"] = float(np.mean([found[f"attack/{name}/{what}"] for name in main]))
    return found


# ---------------------------------------------------------------- spread, greedy


def paraphrase(problem: Problem, number: int) -> Problem:
    """The same sum with its later operands in another order; as it is where no other order keeps running values within bounds."""
    if number == 0:  # as it is, of whatever world: only chains can be read
        return problem
    terms = read_question(problem.prompt)
    rng = np.random.default_rng(derive_seed("paraphrase", problem.key, number))
    for _ in range(8):
        moved = [terms[0], *(terms[1:][i] for i in rng.permutation(len(terms) - 1))]
        if moved != terms and all(0 <= total <= LIMIT for total in np.cumsum(moved)):
            return replace(problem, prompt=write_question(moved) + ":")
    return problem


@asks(samples=2)
def spread(policy: Policy, config: RunConfig) -> dict[str, float]:
    """Sampled verdicts of many runs on the test problems and, in chain worlds, on out-of-distribution ones; greedy beside them.

    spread/<set>/...      every number of `stability.describe`, and of `stability.flips` as greedy_down, greedy_up,
                          greedy_inside, greedy_bias; greedy_beyond: |bias| over twice the standard error of the sampled mean
    spread/<set>/agree    share of problems whose greedy verdict is the same under all paraphrases
    """
    chain = any_world(config.world).family == "chain"
    names, samples = (config.world, *(SHIFTED if chain else ())), min(RUNS, config.final_samples)
    sets = {name: _problems(config, 40 if name != config.world else 100, name) for name in names}
    asked = {(name, k): [paraphrase(p, k) for p in problems]
             for name, problems in sets.items() for k in range(PARAPHRASES if chain else 1)}
    greedy = _together(policy, asked, 1, "greedy", greedy=True)
    found = {}
    for name, (right_QR, _) in _together(policy, sets, samples, f"{config.seed}/probe/spread").items():
        greedy_QK = np.concatenate([right for (of, _), (right, _) in greedy.items() if of == name], axis=1)
        numbers = stability.describe(right_QR)
        flipped = stability.flips(stability.accuracies(right_QR), greedy_QK[:, 0])
        error = numbers["predicted_sd"] / math.sqrt(samples)
        numbers |= {f"greedy_{key}": value for key, value in flipped.items()}
        numbers["greedy_beyond"] = abs(flipped["bias"]) / (2 * error) if error else math.nan
        numbers["agree"] = stability.agreement(greedy_QK)
        found |= {f"spread/{name}/{key}": float(value) for key, value in numbers.items()}
    return found


@asks(samples=min(SIZES))
def dead(policy: Policy, config: RunConfig) -> dict[str, float]:
    """Groups without a signal among training problems: measured in sampled groups, predicted from other samples.

    dead/G/measured, dead/G/predicted, dead/G/easy, dead/G/hard    for groups of G; a problem's 16 samples are 16 / G groups
    """
    problems = _pool(config, 200)
    samples, largest = min(RUNS, config.final_samples), min(max(SIZES), config.final_samples)
    predict_QR, measure_QR = (
        _judged(policy, problems, count, f"{config.seed}/probe/dead/{what}").correct_N.numpy().reshape(-1, count)
        for what, count in (("predict", samples), ("measure", largest)))
    found = {}
    for size in (g for g in SIZES if g <= largest):
        right_GK = measure_QR[:, : largest // size * size].reshape(-1, size)
        shares = dead_groups.measured_share(right_GK)
        shares["predicted"] = dead_groups.predicted_share(samples, predict_QR.sum(axis=1), size)["dead"]
        found |= {f"dead/{size}/{'measured' if name == 'dead' else name}": value for name, value in shares.items()}
    return found


@asks(family="chain")
def tight(policy: Policy, config: RunConfig) -> dict[str, float]:
    """Accuracy where answers are cut off at half the length that they have when every step is re-checked.

    tight/budget    tokens allowed        tight/pass@1    under that budget        tight/full    without it, same problems
    """
    problems, samples = _problems(config, FEW), min(SOME, config.final_samples)
    rechecked = [len(policy.encode(write_trace(read_question(p.prompt), "checked"))) + 1 for p in problems]
    budget = int(np.mean(rechecked)) // 2
    label, found = f"{config.seed}/probe/tight", {"tight/budget": float(budget)}
    for name, limit in (("tight/pass@1", budget), ("tight/full", None)):
        rollouts = make_sampler(policy, max_new_tokens=limit).sample(problems, samples, label)
        verdicts = verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist())
        found[name] = float(np.mean([v.is_correct for v in verdicts]))
    return found


# ---------------------------------------------------------------- several right ways


def derivations(policy: Policy, config: RunConfig) -> dict[str, float]:
    """How the right answers to a problem share its probability, from repeated sampling.

    derivations/entropy       nats over distinct right answers, mean over problems with one
    derivations/distinct      distinct right answers per problem
    derivations/modal         share of all answers that are the likeliest right one
    derivations/wrong         share that are wrong
    derivations/wrong_at_<i>, derivations/entropy_at_<i>
                              the same among the problems whose likeliest right answer has a share in BINS[i]
    """
    samples = min(4 * RUNS, 4 * config.final_samples)
    problems = _problems(config, 100)
    rollouts = _judged(policy, problems, samples, f"{config.seed}/probe/derivations")
    rows = []
    for q in range(len(problems)):
        mine = range(q * samples, (q + 1) * samples)
        counts = pd.Series([rollouts.texts[i] for i in mine if rollouts.verdicts[i].is_correct], dtype=object).value_counts()
        shares = counts.to_numpy(dtype=float) / max(1, counts.sum())
        entropy = float(-(shares * np.log(shares)).sum()) if len(shares) else math.nan
        rows.append({"entropy": entropy, "distinct": len(counts), "wrong": 1 - float(counts.sum()) / samples,
                     "modal": float(counts.iloc[0]) / samples if len(counts) else 0.0})
    table = pd.DataFrame(rows)
    found = {f"derivations/{name}": float(table[name].mean()) for name in table}
    for i, (low, high) in enumerate(BINS):
        inside = table[(table.modal >= low) & (table.modal < high)]
        for name in ("wrong", "entropy"):
            found[f"derivations/{name}_at_{i}"] = float(inside[name].mean()) if len(inside) else math.nan
    return found


PROBES = {f.__name__: f for f in (out_of_distribution, training_fit, under_attack, spread, dead, tight, derivations)}
