"""The training loop. Read `train` downwards; it knows the method record and no method's name.

    problems -> rollouts -> verdicts -> rewards -> advantages -> loss -> update

A run continues from its latest checkpoint and ends bit-identical to a run
that was never interrupted: every random draw has its own label (config.derive_seed),
so there is no generator state to lose.
"""

import contextlib
import copy
import functools
import math
import time
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from polarity_lib import diagnostics
from polarity_lib.boards import board, writer_class
from polarity_lib.config import ConfigError, RunConfig, choose, derive_seed
from polarity_lib.critic import Critic
from polarity_lib.digests import digests, say_if_edited
from polarity_lib.engines import make_sampler
from polarity_lib.evaluation import evaluate, powers_of_two, sampler_gap
from polarity_lib.exporting import keep_trained
from polarity_lib.layout import pack_rows
from polarity_lib.learner import Learner
from polarity_lib.mechanism import loss_weights
from polarity_lib.methods import Method, Progress, brought, in_force, method_named, rows_kept
from polarity_lib.models import starting_policy
from polarity_lib.objectives import BatchCounts
from polarity_lib.offline import Answers, drawn_anew, stored_answers
from polarity_lib.policy import Policy, one_thread, token_logprobs
from polarity_lib.problems import Problem, any_world
from polarity_lib.provenance import machine_of, provenance
from polarity_lib.registry import PROBES, WATCHES
from polarity_lib.results import RunFolder, say
from polarity_lib.rewards import control_verdicts
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import verify

TOKENS_PER_PASS = 65536  # a larger batch goes through the policy in pieces; its loss is that of the whole
READABLE = 6  # rollouts per verdict, of the first and the last batch, that are kept as text


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
        ConfigError: unknown world, method, option or size; more problems than a split has; no TensorBoard where it is asked for.
    """
    writer_class()
    method = method_named(config.method, dict(config.options))
    for probe in config.probes:
        choose("probe", probe, PROBES)
    for watch in config.watches:
        choose("watch", watch, WATCHES)
    world = any_world(config.world)
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


class Diverged(ArithmeticError):
    """A number of the update is not finite, so the policy is lost."""

    def __init__(self, quantity: str, run: Run):
        super().__init__(f"{run.config.name}: the {quantity} is not finite at step {run.step} of {run.config.steps} "
                         f"(learning rate {run.config.learning_rate:g})")


def stream_of(config: RunConfig) -> int | str:
    """What names a run's own luck: its seed, or a twin's seed and stream."""
    return f"{config.seed}.{config.stream}" if config.stream else config.seed


def train(config: RunConfig, folder: RunFolder, device: str | None = None,
          update_sizes: list[float] | None = None, watch=None) -> dict[str, pd.DataFrame]:
    """Run one configuration to its end and return its tables.

    Args:
        folder: where checkpoints and tables go; hold its lock while calling.
        update_sizes: per step, the length of the parameter change to impose
            (the matched-update control); None leaves the optimizer's own.
        watch: called as watch(step, steps, seconds_left) now and then.

    Returns:
        metrics (step, metric, value; step metrics are means since the
        previous curve point, those of a watch stand batch by batch), problems (right answers per problem of the test
        set and the pool), rollouts (a few, as text), updates (length of the
        parameter change of every step).
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with one_thread(device), contextlib.closing(prepare(config, device)) as run:
        begin(run, folder, device)
        return carry_on(run, folder, update_sizes, watch)


def begin(run: Run, folder: RunFolder, device: str, stacked: int = 1) -> None:
    """Put a run where its checkpoint left it; write down where it begins, or goes on elsewhere.

    Args:
        stacked: how many runs are computed as one batched model, this one included.
    """
    config, saved = run.config, folder.load_checkpoint()
    if not saved:
        here = provenance(run.policy.model, device) | ({"stacked": stacked} if stacked > 1 else {})
        folder.begin(here | digests(config.identity))
        return
    run.restore(saved)
    before = folder.record()
    say(f"{config.name}: continues at step {run.step} of {config.steps}")
    say_if_edited(config.identity, before, f"To begin anew, delete {folder.path}")
    here = told_place(machine_of(device), stacked)
    there = before.get("continued", "").rpartition(": ")[2] or told_place(before.get("machine"), before.get("stacked", 1))
    folder.begin(before | {"continued": f"step {run.step}: {here}"} if there not in (here, "") else None)


def told_place(machine: str | None, stacked: int) -> str:
    """Where a run is computed, and how many side by side; empty where that was not kept."""
    return f"{machine}, {stacked} stacked" if machine else ""


def carry_on(run: Run, folder: RunFolder, update_sizes: list[float] | None = None, watch=None) -> dict[str, pd.DataFrame]:
    """From where a run stands to its end; arguments and tables as of `train`."""
    config = run.config
    with board(config.name) as on_board:
        first, began, before = run.step, time.monotonic(), run.seconds
        diverged = ""
        while run.step < config.steps and not diverged:
            if run.step % config.curve_every == 0:
                run.log_window()
                run.log(found := curve(run))
                on_board(run.step, found)
            size = update_sizes[run.step] if update_sizes else None
            begin_round(run, folder)
            try:
                metrics = one_step(run, size)
            except Diverged as error:
                diverged = str(error)
                say(f"{diverged}; the run ends here, as a collapse")
                break
            run.window.append(metrics)
            run.norms.append(metrics["update/norm"])
            folder.watch({"step": run.step, **metrics})
            on_board(run.step, metrics)
            run.step += 1
            run.seconds = before + time.monotonic() - began
            if run.step % config.checkpoint_every == 0:
                folder.save_checkpoint(run.state())
            if watch:
                left = (time.monotonic() - began) / (run.step - first) * (config.steps - run.step)
                watch(run.step, config.steps, left)
        run.log_window()
        if diverged:
            final, problems = nothing_right(run)
        else:
            run.log(curve(run))
            final, problems = final_evaluation(run)
            keep_trained(run.policy, config, folder.path, final)
        on_board(run.step, final)
        run.log(final | {"timing.run": before + time.monotonic() - began})
        tables = {
            "updates": pd.DataFrame({"step": range(len(run.norms)), "norm": run.norms}),
            "metrics": pd.DataFrame(run.rows),
            "problems": problems,
            "rollouts": pd.DataFrame(run.samples),
        }
        folder.finish(tables, diverged)
    return tables


def begin_round(run: Run, folder: RunFolder) -> None:
    """A run of several rounds on stored answers: at a round's first step, and where a run continues within one, its data set.

    The answers of a later round are the policy's own, and with them the log-probabilities that losses compare with.
    """
    config = run.config
    length = config.steps // config.offline.rounds if config.offline else 0
    if not length or run.step < length or run.round == run.step // length:
        return
    run.round, first = run.step // length, run.step % length == 0
    run.answers = drawn_anew(folder.path / f"round-{run.round}", config, run.policy, stream_of(config), run.round, first)
    run.stream.pool = run.answers.problems


def one_step(run: Run, update_size: float | None = None) -> dict[str, float]:
    """One batch: sample, judge, reinforce. Returns the step's metrics."""
    config, progress = run.config, Progress(run.step, run.config.steps, run.config.minibatches)
    run = replace(run, method=in_force(run.method, progress))
    method = run.method
    clock = {"start": time.monotonic()}
    sampler = run.answers or make_sampler(run.policy, temperature=config.temperature)
    label = f"{stream_of(config)}/train/{run.step}"
    rollouts = method.collect(sampler, run.stream, config.prompts_per_step, config.rollouts_per_prompt, label)
    clock["sampled"] = time.monotonic()
    if not rollouts.verdicts:  # a method that chooses what it keeps has judged already
        rollouts = rollouts.but(verdicts=verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist()))
    judged = control_verdicts(rollouts, config.verdicts, label)
    rewards_N = method.reward(judged)
    keep_N = rows_kept(method, rewards_N, rollouts.group_N)
    clock["judged"] = time.monotonic()
    judged = judged.but(extras=judged.extras | extras_for(run, judged))
    advantages_NT = method.advantage(judged, rewards_N, progress)
    advantages_NT = advantages_NT * keep_N[:, None]

    metrics = diagnostics.describe_rollouts(rollouts) | diagnostics.describe_gaps(rollouts)
    metrics["train/paid"] = float(judged.correct_N.float().mean())  # what the training's own verifier calls right
    metrics |= diagnostics.describe_advantages(advantages_NT, rollouts.mask_NT, rollouts.correct_N)
    metrics |= {f"brought/{name}": float(rollouts.extras[name].float().mean()) for name in sorted(brought(method))}
    metrics |= update(run, judged, advantages_NT, keep_N, update_size)
    if config.watches:
        run.log(watched(run, rollouts, advantages_NT, keep_N))
    if run.critic:
        where = rollouts.mask_NT.bool()
        returns_M = judged.extras["returns"][where].to(run.learner.device)
        metrics["critic/error"] = run.critic.fit(judged.extras["hidden"], returns_M)
    if run.step in (0, config.steps - 1):
        run.samples += readable(run.step, rollouts, advantages_NT, sorted(brought(method)))
    clock["updated"] = time.monotonic()
    metrics["timing.sample"] = clock["sampled"] - clock["start"]
    metrics["timing.verify"] = clock["judged"] - clock["sampled"]
    metrics["timing.update"] = clock["updated"] - clock["judged"]
    return metrics


def watched(run: Run, rollouts: Rollouts, advantages_NT: Tensor, keep_N: Tensor) -> dict[str, float]:
    """What the run's watches see in this batch, by the true verdicts; logged batch by batch, and nothing of the run hangs on it.

    A watch is a function (rollouts, weights_NT) -> metrics. The weights are those of one update on the whole batch
    (`mechanism.loss_weights`); NaN where the method's loss wants more than the rollouts hold.
    """
    if run.method.needs or brought(run.method):
        weights_NT = torch.full_like(rollouts.mask_NT, math.nan)
    elif not advantages_NT.any():
        weights_NT = torch.zeros_like(rollouts.mask_NT)
    else:
        weights_NT = loss_weights(run.method, rollouts, advantages_NT, keep_N)
    found = {}
    for name in run.config.watches:
        found |= WATCHES[name](rollouts, weights_NT)
    return found


def update(run: Run, rollouts: Rollouts, advantages_NT: Tensor, keep_N: Tensor,
           update_size: float | None) -> dict[str, float]:
    """Optimizer steps on one batch, `minibatches` of them, split by prompt."""
    config, method = run.config, run.method
    run.learner.begin()
    # Rows without advantage give no gradient; leaving them out changes nothing but the time.
    active_N = keep_N & (advantages_NT != 0).any(1) if method.zero_rows_are_free else keep_N
    split_N = rollouts.group_N * config.minibatches // (int(rollouts.group_N.max()) + 1)
    rollouts = rollouts.but(extras=rollouts.extras | before_update(run, rollouts, active_N))
    grad_norms, moved, gaps, skipped = [], [], [], 0
    for part in range(config.minibatches):
        rows = (split_N == part) & active_N
        counts = BatchCounts.of(rollouts.mask_NT[split_N == part], keep_N[split_N == part], rollouts.max_new_tokens)
        if not rows.any():
            skipped += 1
            continue
        run.learner.zero_grad()
        pieces = split_rows(rows, rollouts.mask_NT, run.policy.served.tokens_per_pass)
        with run.policy.for_gradients():
            logprobs_NT, entropies_NT = forward_pieces(run, rollouts, rows, pieces)
            loss, ratios, gap = loss_of(run, rollouts, advantages_NT, rows, counts, logprobs_NT, entropies_NT)
            if not torch.isfinite(loss):
                raise Diverged("loss", run)
            if len(pieces) == 1:
                loss.backward()
            else:
                backward_pieces(run, rollouts, rows, pieces, torch.autograd.grad(loss, logprobs_NT)[0])
        moved.append(ratios)
        gaps.append(gap)
        grad_norms.append(run.learner.step(config.grad_clip or float("inf")))
        if not math.isfinite(grad_norms[-1]):
            raise Diverged("gradient", run)
    norm = run.learner.moved(update_size)
    if not math.isfinite(norm):
        raise Diverged("policy's weights", run)
    return {
        "update/norm": norm,
        "update/skipped": skipped,
        "update/gradient_norm": float(np.mean(grad_norms)) if grad_norms else 0.0,
        "update/clip_share": float(np.mean([ratios.pop("clip_share") for ratios in moved])) if moved else 0.0,
        "update/sampler_gap": float(np.mean(gaps)) if gaps else 0.0,
        "update/rows_kept": float(keep_N.sum()),
    } | pd.DataFrame(moved).mean().to_dict()


def forward(run: Run, rollouts: Rollouts, rows: Tensor) -> tuple[Tensor, Tensor]:
    """[N, T] log-probability of each sampled token of some rows, and the entropy there."""
    packed, mask_NT = pack_rows(rollouts, rows, run.policy), rollouts.mask_NT[rows].to(run.learner.device)
    logprobs_NT, entropies_NT, _ = run.learner.logprobs(packed, mask_NT, run.config.temperature)
    if not torch.isfinite(logprobs_NT).all():
        raise Diverged("log-probability of a sampled token", run)
    return logprobs_NT, entropies_NT


def forward_pieces(run: Run, rollouts: Rollouts, rows: Tensor, pieces: list[Tensor]) -> tuple[Tensor, Tensor]:
    """What `forward` gives for all rows of a mini-batch. Of several pieces only the numbers are kept, without their graphs.

    The loss sees the whole mini-batch at once, so a method that ranks tokens ranks all of them, however many there are.
    """
    if len(pieces) == 1:
        return forward(run, rollouts, rows)
    mask_NT = rollouts.mask_NT.to(run.learner.device)
    logprobs_NT, entropies_NT = torch.zeros_like(mask_NT), torch.zeros_like(mask_NT)
    with torch.no_grad():
        for piece in pieces:
            logprobs_NT[piece], entropies_NT[piece] = forward(run, rollouts, piece)
    return logprobs_NT[rows].requires_grad_(), entropies_NT[rows]


def backward_pieces(run: Run, rollouts: Rollouts, rows: Tensor, pieces: list[Tensor], slope_NT: Tensor) -> None:
    """The gradient of a loss in the policy's weights, piece by piece, from its slope in the log-probabilities.

    By the chain rule the sum over pieces is the gradient of the whole, for one more forward pass.
    """
    for piece in pieces:
        logprobs_NT, _ = forward(run, rollouts, piece)
        (logprobs_NT * slope_NT[piece[rows]]).sum().backward()


def loss_of(run: Run, rollouts: Rollouts, advantages_NT: Tensor, rows: Tensor, counts: BatchCounts,
            logprobs_NT: Tensor, entropies_NT: Tensor):
    """The loss of a mini-batch's rows, how far the policy has moved since the batch was drawn, and the gap to the sampler."""
    device = run.learner.device
    mask_NT = rollouts.mask_NT[rows].to(device)
    # The first update of a batch is exactly on-policy: the old log-probabilities are the new ones.
    old_NT = logprobs_NT.detach()
    if "old_logprobs" in rollouts.extras:
        old_NT = rollouts.extras["old_logprobs"][rows].to(device)
    advantages = advantages_NT[rows].to(device)
    extras = {k: v[rows].to(device) for k, v in rollouts.extras.items() if k in run.method.needs | brought(run.method)}
    if "entropies" in run.method.needs:
        extras["entropies"] = entropies_NT
    stored = {"sampled_logprobs": rollouts.logprobs_NT, "groups": rollouts.group_N, "tokens": rollouts.tokens_NT}
    extras |= {need: values[rows].to(device) for need, values in stored.items() if need in run.method.needs}
    loss_NT = run.method.token_loss(logprobs_NT, old_NT, advantages, mask_NT, extras)
    loss = run.method.aggregate(loss_NT, mask_NT, counts)
    ratios = {"clip_share": diagnostics.clip_share(logprobs_NT, old_NT, advantages, mask_NT)}
    if run.config.minibatches > 1:  # with one update nothing has moved yet
        ratios |= diagnostics.describe_ratios(logprobs_NT, old_NT, advantages, mask_NT)
    own_N = ~rollouts.extras["from_elsewhere"][rows] if "from_elsewhere" in rollouts.extras else slice(None)
    own_NT = rollouts.mask_NT[rows][own_N]  # answers from elsewhere have no sampler to differ from
    gap = sampler_gap(rollouts.logprobs_NT[rows][own_N], old_NT[own_N], own_NT) if own_NT.any() else 0.0
    return loss, ratios, gap


def before_update(run: Run, rollouts: Rollouts, rows: Tensor) -> dict:
    """What later mini-batches compare with: the policy as it was before the first of them.

    Only `rows` enter the update, so only theirs are computed; the others stay zero.
    """
    wants_distributions, wants_hidden = ("old_distributions" in run.method.needs), ("old_hidden" in run.method.needs)
    if (run.config.minibatches == 1 and not wants_distributions and not wants_hidden) or not rows.any():
        return {}
    found = {"old_logprobs": torch.zeros_like(rollouts.mask_NT)}

    def note(name, piece, values_M):
        if name not in found:
            found[name] = torch.zeros(*rollouts.mask_NT.shape, values_M.shape[1])
        found[name][rollouts.mask_NT.bool() & piece[:, None]] = values_M

    with torch.no_grad():
        for piece in pieces_without_gradient(run, rows, rollouts):
            logprobs_NT, _, hidden_MC = run.learner.logprobs(
                pack_rows(rollouts, piece, run.policy), rollouts.mask_NT[piece].to(run.learner.device),
                run.config.temperature, keep_hidden=wants_distributions or wants_hidden)
            found["old_logprobs"][piece] = logprobs_NT.cpu()
            if wants_distributions:
                note("old_distributions", piece, run.learner.distributions(hidden_MC, run.config.temperature).cpu())
            if wants_hidden:
                note("old_hidden", piece, hidden_MC.cpu())
    return found


def extras_for(run: Run, rollouts: Rollouts) -> dict:
    """What the method's advantage or loss asked for (`needs`) or its `collect` brought, and nothing else."""
    extras = {name: rollouts.extras.get(name, torch.zeros(len(rollouts))) for name in brought(run.method)}
    everything = torch.ones(len(rollouts), dtype=torch.bool)
    if not run.critic and run.reference is None:
        return extras
    pieces = pieces_without_gradient(run, everything, rollouts)
    with torch.no_grad():
        if run.critic:
            hidden_MC = torch.cat([run.learner.hidden(pack_rows(rollouts, piece, run.policy)) for piece in pieces])
            values_M = run.critic(hidden_MC).cpu()
            extras["hidden"] = hidden_MC
            extras["values"] = torch.zeros_like(rollouts.mask_NT).index_put(
                rollouts.mask_NT.bool().nonzero(as_tuple=True), values_M)
        if run.reference is not None:
            extras["reference_logprobs"] = torch.zeros_like(rollouts.mask_NT)
            for piece in pieces:
                packed, mask_NT = pack_rows(rollouts, piece, run.policy), rollouts.mask_NT[piece].to(run.learner.device)
                reference_NT, _, _ = token_logprobs(run.reference, packed, mask_NT, run.config.temperature)
                extras["reference_logprobs"][piece] = reference_NT.cpu()
    return extras


def split_rows(rows: Tensor, mask_NT: Tensor, tokens: int = 0) -> list[Tensor]:
    """Boolean masks that cover `rows`, each of at most about so many response tokens; 0: TOKENS_PER_PASS."""
    tokens_N = mask_NT.sum(1) * rows
    piece_N = (tokens_N.cumsum(0) - tokens_N).div(tokens or TOKENS_PER_PASS, rounding_mode="floor")
    return [rows & (piece_N == piece) for piece in piece_N[rows].unique()]


def pieces_without_gradient(run: Run, rows: Tensor, rollouts: Rollouts) -> list[Tensor]:
    """The same where no graph is kept: all at once, unless the policy says how much."""
    tokens = run.policy.served.tokens_per_pass
    return split_rows(rows, rollouts.mask_NT, tokens) if tokens else [rows]


def curve(run: Run) -> dict[str, float]:
    """Validation metrics at this step, on the same problems and the same random numbers every time."""
    config = run.config
    problems = any_world(config.world).draw("validation", config.curve_problems, config.seed)
    metrics, counts = evaluate(run.policy, problems, config.curve_samples, f"{config.seed}/curve",
                               config.eval_temperature, config.eval_top_p)
    shares = counts.correct / counts.samples  # by halves of the problems: one may choose a checkpoint, the other then judges it
    metrics |= {"half/even": float(shares[::2].mean()), "half/odd": float(shares[1::2].mean())}
    return {f"validation/{k}": v for k, v in metrics.items()}


def final_evaluation(run: Run) -> tuple[dict[str, float], pd.DataFrame]:
    """Test set and training pool, counted per problem."""
    config, world = run.config, any_world(run.config.world)
    test = world.draw("test", config.final_problems, config.seed)
    found, counts = {}, []
    pool = run.stream.pool[:256]
    for name, problems, samples in (("test", test, config.final_samples),
                                    ("pool", pool, min(16, config.final_samples))):
        metrics, table = evaluate(run.policy, problems, samples, f"{config.seed}/{name}",
                                  config.eval_temperature, config.eval_top_p)
        found |= {f"{name}/{k}": v for k, v in metrics.items()}
        counts.append(table.assign(set=name))
    for name in config.probes:
        found |= PROBES[name](run.policy, config)
    return found, pd.concat(counts, ignore_index=True)


def nothing_right(run: Run) -> tuple[dict[str, float], pd.DataFrame]:
    """What a lost policy is worth: no answer right, to any problem. `run/diverged` is 1 in no other run."""
    config, world = run.config, any_world(run.config.world)
    found, counts = {"run/diverged": 1.0, "validation/pass@1": 0.0}, []
    for name, problems, samples in (("test", world.draw("test", config.final_problems, config.seed), config.final_samples),
                                    ("pool", run.stream.pool[:256], min(16, config.final_samples))):
        found |= {f"{name}/pass@{k}": 0.0 for k in powers_of_two(samples)}
        of_problems = {"problem": [p.key for p in problems], "level": [p.level for p in problems]}
        counts.append(pd.DataFrame(of_problems | {"samples": samples, "correct": 0, "greedy": 0, "set": name}))
    return found, pd.concat(counts, ignore_index=True)


def readable(step: int, rollouts: Rollouts, advantages_NT: Tensor, marked: list[str]) -> list[dict]:
    """A few rollouts of every verdict, and of every kind that a method's `collect` `marked`, as text with their advantage."""
    seen: dict[tuple, int] = {}
    marks = [rollouts.extras[name].tolist() for name in marked]
    rows = []
    for i, (problem, text, verdict) in enumerate(zip(rollouts.problems, rollouts.texts, rollouts.verdicts)):
        kind = (verdict.label, *(mark[i] for mark in marks))
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= READABLE:
            rows.append({"step": step, "prompt": problem.prompt, "response": text, "label": verdict.label,
                         "reason": verdict.reason, "tokens": int(rollouts.mask_NT[i].sum()),
                         "advantage": float(advantages_NT[i, 0])})
    return rows
