"""A run: everything that changes while it goes on, and how it is made from its configuration."""

import copy
import functools
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch

from polarity_lib.boards import writer_class
from polarity_lib.config import ConfigError, RunConfig, choose, derive_seed
from polarity_lib.critic import Critic
from polarity_lib.evaluation import refuse_probe
from polarity_lib.learner import Learner
from polarity_lib.methods import Method, collect_fixed, method_named, takes_stored
from polarity_lib.models import starting_policy
from polarity_lib.offline import Answers, stored_answers
from polarity_lib.policy import Policy
from polarity_lib.problems import Problem, any_world
from polarity_lib.registry import PROBES, WATCHES
from polarity_lib.rewards import check_control


@dataclass
class ProblemStream:
    """Training problems, one shuffled pass after another.

    A fixed pool (`pool_size` > 0) is what the papers train on, many epochs
    over; pool_size = 0 passes over every training problem of the world.
    """

    pool: list[Problem]
    seed: int | str
    position: int = 0

    def take(self, count: int) -> list[Problem]:
        chosen = []
        for _ in range(count):
            epoch, place = divmod(self.position, len(self.pool))
            chosen.append(self.pool[_order(self.seed, epoch, len(self.pool))[place]])
            self.position += 1
        return chosen


@functools.lru_cache(maxsize=4)
def _order(seed: int | str, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng(derive_seed("order", seed, epoch)).permutation(size)


@dataclass
class Run:
    """Everything that changes while a run goes on, and what it needs to go on."""

    config: RunConfig
    method: Method
    policy: Policy
    learner: Learner
    stream: ProblemStream
    critic: Critic | None = None
    reference: torch.nn.Module | None = None
    answers: Answers | None = None  # the data set of an offline run, which then is its sampler
    step: int = 0
    round: int = 0  # of an offline run whose answers are drawn anew
    rows: list[dict] = field(default_factory=list)  # the metrics table so far
    window: list[dict] = field(default_factory=list)  # step metrics since the last curve point
    norms: list[float] = field(default_factory=list)  # update length of every step
    samples: list[dict] = field(default_factory=list)  # readable rollouts
    seconds: float = 0.0  # spent so far, by all processes that worked on it

    def log(self, metrics: dict[str, float]) -> None:
        self.rows += [{"step": self.step, "metric": k, "value": float(v)} for k, v in metrics.items()]

    def log_window(self) -> None:
        """One row per metric: the mean over the steps since the last curve point.

        A split by polarity is undefined (NaN) at a step without such rows; the mean skips it.
        """
        if self.window:
            self.log(pd.DataFrame(self.window).mean().to_dict())
            self.window = []

    def state(self) -> dict:
        return {
            "step": self.step, "rows": self.rows, "samples": self.samples,
            "window": self.window, "norms": self.norms, "seconds": self.seconds,
            "position": self.stream.position, **self.learner.state(),
            "critic": self.critic.state() if self.critic else None,
        }

    def close(self) -> None:
        """End the engine, if one samples in the policy's place."""
        if self.policy.engine is not None:
            self.policy.engine.close()

    def restore(self, state: dict) -> None:
        self.step, self.rows, self.samples = state["step"], state["rows"], state["samples"]
        self.window, self.norms, self.seconds = state["window"], state["norms"], state.get("seconds", 0.0)
        self.stream.position = state["position"]
        self.learner.restore(state)
        if self.critic:
            self.critic.restore(state["critic"])


def prepare(config: RunConfig, device: str) -> Run:
    """Check every name, then build policy, optimizer and problem stream.

    Raises:
        ConfigError: unknown world, method, option or size; more problems than a split has; a probe that cannot ask this run;
            stored answers for a method that draws its own; a verdict control that the world or the method does not allow; no
            TensorBoard where it is asked for.
    """
    writer_class()
    method = method_named(config.method, dict(config.options))
    for probe in config.probes:
        refuse_probe(probe, PROBES[choose("probe", probe, PROBES)], config)
    for watch in config.watches:
        choose("watch", watch, WATCHES)
    if config.offline and not takes_stored(method):
        raise ConfigError(f"{config.method} draws its batches in a way of its own, which stored answers know nothing of: leave "
                          "`offline` out, or take a method or options that train on the next problems as they come.")
    world = any_world(config.world)
    check_control(config.verdicts, world.family)
    if config.verdicts != "true" and method.collect is not collect_fixed:
        raise ConfigError(f"{config.method} chooses or makes its answers by their true verdicts, before a verifier can lie about "
                          f"them: `{config.verdicts}` is for methods that train on the next problems as they come.")
    for split, count in (("validation", config.curve_problems), ("test", config.final_problems)):
        world.draw(split, count, config.seed)  # what cannot be drawn is refused now, not after training
    answers, pool = None, [] if config.offline else world.draw("train", config.pool_size or world.size("train"), config.seed)
    policy = starting_policy(config.start, device)
    if config.longest_answer:
        limit = min(config.longest_answer, policy.served.longest_in(world))
        policy.served = replace(policy.served, answer_tokens=limit)
    if config.offline:
        answers = stored_answers(config, policy, lambda start: starting_policy(start, device), stream_of(config))
        pool = answers.problems
    parameters = policy.parameters()
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, lr=config.learning_rate)
    else:
        optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0, fused=True)
    run = Run(config, method, policy, Learner(policy, optimizer), ProblemStream(pool, stream_of(config)), answers=answers)
    if "values" in method.needs:
        width = policy.model.config.hidden_size
        # The paper's critic learns at ten times the policy's rate.
        run.critic = Critic(width, 10 * config.learning_rate, derive_seed("critic", config.seed)).to(device)
    if "reference_logprobs" in method.needs:
        if config.offline and config.offline.rounds > 1:
            raise ConfigError(f"{config.method} keeps a reference model, which several rounds would have to replace; "
                              "a loss of several rounds compares with `sampled_logprobs`.")
        run.reference = copy.deepcopy(policy.model).requires_grad_(False)
    return run


def stream_of(config: RunConfig) -> int | str:
    """What names a run's own luck: its seed, or a twin's seed and stream."""
    return f"{config.seed}.{config.stream}" if config.stream else config.seed


class Diverged(ArithmeticError):
    """A number of the update is not finite, so the policy is lost."""

    def __init__(self, quantity: str, run: Run):
        super().__init__(f"{run.config.name}: the {quantity} is not finite at step {run.step} of {run.config.steps} "
                         f"(learning rate {run.config.learning_rate:g})")
