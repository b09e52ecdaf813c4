"""The training loop. Read `train` downwards; it knows the method record and no method's name.

    problems -> rollouts -> verdicts -> rewards -> advantages -> loss -> update

What a run is made of stands in `run`, the last two arrows in `updates`.
A run continues from its latest checkpoint and ends bit-identical to a run
that was never interrupted: every random draw has its own label (config.derive_seed),
so there is no generator state to lose.
"""

import contextlib
import math
import time
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from polarity_lib import diagnostics
from polarity_lib.boards import board
from polarity_lib.config import RunConfig
from polarity_lib.digests import digests, say_if_edited
from polarity_lib.engines import make_sampler
from polarity_lib.evaluation import evaluate, powers_of_two
from polarity_lib.exporting import keep_trained
from polarity_lib.mechanism import loss_weights
from polarity_lib.methods import Progress, brought, in_force, rows_kept
from polarity_lib.offline import drawn_anew
from polarity_lib.policy import one_thread
from polarity_lib.problems import any_world
from polarity_lib.provenance import machine_of, provenance
from polarity_lib.registry import PROBES, WATCHES
from polarity_lib.results import RunFolder, say
from polarity_lib.rewards import control_verdicts
from polarity_lib.rollouts import Rollouts
from polarity_lib.run import Diverged, Run, prepare, stream_of
from polarity_lib.updates import extras_for, update
from polarity_lib.verification import verify

READABLE = 6  # rollouts per verdict, of the first and the last batch, that are kept as text


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
    kept = before.get("continued", [])
    continued = kept if isinstance(kept, list) else [kept]  # older records hold the last place alone
    began = told_place(before.get("machine"), before.get("stacked", 1))
    there = str(continued[-1]).partition(": ")[2] if continued else began
    folder.begin(before | {"continued": [*continued, f"step {run.step}: {here}"]} if there not in (here, "") else None)


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
            size = None if update_sizes is None else update_sizes[run.step]
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
            run.rows = [row for row in run.rows if row["step"] != run.step or row["metric"] not in final]  # its value is this one
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
