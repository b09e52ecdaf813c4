"""What finished runs are asked: how far they moved from the policy that wrote their answers, and whom NTHR would spare."""

import torch

from polarity_lib.config import RunConfig
from polarity_lib.diagnostics import shows_work
from polarity_lib.engines import make_sampler
from polarity_lib.evaluation import sample_test
from polarity_lib.models import as_it_began, starting_policy
from polarity_lib.offline import Answers, stored_answers
from polarity_lib.papers.bcpg_nsa.credit import collect_with_values, error_places, nthr_weights
from polarity_lib.papers.bcpg_nsa.mining import judged_tokens
from polarity_lib.policy import Policy, pack, token_distributions, token_logprobs
from polarity_lib.problems import any_world
from polarity_lib.rollouts import Rollouts
from polarity_lib.run import stream_of

PROBLEMS = 32  # of a data set; of the test split for `blame`


@torch.no_grad()
def rescored(policy: Policy, rollouts: Rollouts, temperature: float):
    """What the policy makes of given answers: logprobs_NT, and [M, C] hidden states of all tokens, rows in order."""
    lengths = rollouts.mask_NT.sum(1).long().tolist()
    bundles = [(rollouts.prompt_ids[row], [rollouts.tokens_NT[row, :n].tolist()]) for row, n in enumerate(lengths)]
    # One bundle per answer: a group at a time would be cheaper, and would need its rows to stand together.
    logprobs_NT, _, hidden_MC = token_logprobs(policy.model, pack(bundles), rollouts.mask_NT.to(policy.device), temperature)
    return logprobs_NT.cpu(), hidden_MC


def drift(policy: Policy, config: RunConfig) -> dict[str, float]:
    """How far the policy is from the one that wrote its data set, on the set's first problems.

    drift/right, drift/wrong     mean over answers of rho, the log-ratio of the whole answer, nats
    drift/per_token              mean over answers of |rho| per token, nats: what tau holds down
    drift/steps                  mean over tokens of wrong answers' right steps of the log-ratio, nats

    Nothing for a run that draws its answers.
    """
    if not config.offline:
        return {}
    answers = opened(policy, config)
    rollouts = answers.sample(answers.problems[:PROBLEMS], config.offline.answers)
    logprobs_NT, _ = rescored(policy, rollouts, config.temperature)
    changed_NT = (logprobs_NT - rollouts.logprobs_NT) * rollouts.mask_NT
    rho_N, right_N = changed_NT.sum(1), rollouts.correct_N
    found = {f"drift/{name}": float(rho_N[rows].mean()) for name, rows in (("right", right_N), ("wrong", ~right_N))}
    found["drift/per_token"] = float((rho_N.abs() / rollouts.mask_NT.sum(1)).mean())
    if any_world(config.world).family == "chain":
        good_NT = judged_tokens(rollouts) >= 0.5
        found["drift/steps"] = float(changed_NT[good_NT].mean()) if good_NT.any() else float("nan")
    return found


def opened(policy: Policy, config: RunConfig) -> Answers:
    """The data set of a run's first round."""
    start = as_it_began(policy, config.start)
    return stored_answers(config, start, lambda other: starting_policy(other, policy.device.type), stream_of(config))


class Fixed:
    """A problem stream that gives the same problems."""

    def __init__(self, problems):
        self.problems = problems

    def take(self, count):
        return self.problems[:count]


@torch.no_grad()
def blame(policy: Policy, config: RunConfig) -> dict[str, float]:
    """Who would be spared or blamed among the tokens of wrong answers with work, against the true labels of their steps.

    blame/nthr_precision, blame/nthr_recall      of "spared" by NTHR (eta 0) against "in a right step"
    blame/share                                  share of those tokens that are in right steps: chance's precision
    blame/nthr_spared                            share that NTHR spares
    blame/value_hit                              share of wrong answers whose largest loss of value (4 continuations) falls on
                                                 the first error
    """
    rollouts = sample_test(policy, config, "blame", problems=PROBLEMS, samples=16)
    worked_N = shows_work(rollouts) & ~rollouts.correct_N
    inside_NT = (rollouts.mask_NT > 0) & worked_N[:, None]
    good_NT = (judged_tokens(rollouts) >= 0.5)[inside_NT]
    spared_NT = nthr_spared(policy, rollouts)[inside_NT]
    hits, spared, good, count = ((x.sum().item()) for x in (good_NT & spared_NT, spared_NT, good_NT, inside_NT))
    return {"blame/nthr_precision": share(hits, spared), "blame/nthr_recall": share(hits, good),
            "blame/share": share(good, count), "blame/nthr_spared": share(spared, count),
            "blame/value_hit": value_hit(policy, config)}


def share(part: float, whole: float) -> float:
    """NaN of nothing."""
    return part / whole if whole else float("nan")


def nthr_spared(policy: Policy, rollouts: Rollouts) -> torch.Tensor:
    """[N, T] bool, the tokens that NTHR with eta 0 spares."""
    _, hidden_MC = rescored(policy, rollouts, 1.0)
    where, shape = rollouts.mask_NT.bool(), rollouts.mask_NT.shape
    logs_MV = token_distributions(policy.model, hidden_MC).cpu()
    hidden_NTC, logs_NTV = torch.zeros(*shape, hidden_MC.shape[1]), torch.zeros(*shape, logs_MV.shape[1])
    hidden_NTC[where], logs_NTV[where] = hidden_MC.cpu(), logs_MV
    return nthr_weights(hidden_NTC, logs_NTV, rollouts.tokens_NT, rollouts.mask_NT, rollouts.correct_N, rollouts.group_N) == 0


def value_hit(policy: Policy, config: RunConfig, continuations: int = 4) -> float:
    """Share of wrong answers with work in which the step after which the value falls most is the first one that is not right."""
    problems = any_world(config.world).draw("test", min(PROBLEMS, config.final_problems), config.seed)
    collect, sampler = collect_with_values(continuations), make_sampler(policy)
    rollouts = collect(sampler, Fixed(problems), len(problems), min(8, config.final_samples), f"{config.seed}/probe/value_hit")
    fall_NT = rollouts.extras["values_before"] - rollouts.extras["step_values"]
    places_NT, hits = error_places(rollouts), []
    for row in (shows_work(rollouts) & ~rollouts.correct_N).nonzero()[:, 0].tolist():
        hits.append(bool(places_NT[row, int(fall_NT[row].argmax())] == 1))
    return share(sum(hits), len(hits))


PROBES = {f.__name__: f for f in (drift, blame)}
