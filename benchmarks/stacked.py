"""How fast many runs go side by side as one batched model, against one after another, on whatever device is here.

    python benchmarks/stacked.py --runs 1,4,16,64 --seconds 300

R runs of GRPO in world latent, by its protocol, from one base policy that has hardly been trained, each with luck of its own.
Steps alone are timed, the evaluation left out. Beside the runs per minute: where the time goes, the memory per run (against
what `make plan` reckons with), and the share of the device's own limit in matrix products. A batch is counted as what
its real tokens need, so padding and masked positions lower the share.
"""

import argparse
import statistics
import time

import torch
from common import fastest, keep

from polarity_lib.config import StartConfig, scale_named
from polarity_lib.experiments import in_world
from polarity_lib.run import prepare
from polarity_lib.stacking import Backward, Forward, Stack, memory_of_run
from polarity_lib.training import one_step

WARM = 3  # steps that are not counted: the third records what the others replay
HORIZON = 100  # steps that make a run


def configs(runs: int, size: str) -> list:
    start = StartConfig("latent", size, 40, 0, batch=64)
    first = in_world(scale_named("tiny"), "grpo", 0, "latent")
    return [first.but(start=start, stream=number, steps=10**6) for number in range(runs)]


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def matrix_limit(device: str) -> float:
    """Float32 operations per second of one large matrix product."""
    size = 4096 if device == "cuda" else 1024
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)

    def multiply():
        a @ b
        synchronize(device)

    return 2 * size**3 / fastest(multiply, 10)


class Clock:
    """Seconds and operations of what a stack answers, by kind."""

    def __init__(self, stack: Stack, device: str):
        self.seconds, self.operations = {}, 0.0
        weights = sum(stack.model.sizes)
        answer = stack.answer

        def timed(chosen):
            began = time.perf_counter()
            found = answer(chosen)
            synchronize(device)
            questions = list(chosen.values())
            kind = type(questions[0]).__name__
            self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - began
            if kind == "Decode":
                tokens = sum(int(part[3].sum()) for part in found) + sum(len(ids) for q in questions for ids in q.prompts)
                self.operations += 2 * weights * tokens
            elif isinstance(questions[0], Forward):
                self.operations += 2 * weights * sum(int((q.packed.positions_SL > 0).sum()) for q in questions)
            elif isinstance(questions[0], Backward):  # twice a forward pass
                self.operations += 4 * weights * sum(len(q.slope_M) for q in questions)
            return found

        stack.answer = timed


def stacked_steps(number: int, size: str, device: str, budget: float) -> dict:
    """Median seconds of a step of all runs, and what it was made of."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    chosen = configs(number, size)
    runs = [prepare(config, device) for config in chosen]
    stack = Stack(runs, device)
    clock, stamps = Clock(stack, device), []
    ends = time.perf_counter() + budget

    def go(r):
        while len(stamps) < WARM + 2 or time.perf_counter() < ends and len(stamps) < WARM + 10:
            if r == 0:
                stamps.append(time.perf_counter())
                if len(stamps) == WARM:
                    clock.seconds, clock.operations = {}, 0.0
            one_step(runs[r])
            runs[r].step += 1

    found = stack.work(go)
    if errors := [e for e in found if isinstance(e, Exception)]:
        raise errors[0]
    steps = len(stamps) - WARM
    seconds = statistics.median(b - a for a, b in zip(stamps[WARM - 1 :], stamps[WARM:]))
    memory = torch.cuda.max_memory_allocated() / number if device == "cuda" else None
    return {"seconds": seconds, "parts": {k: round(v / steps, 4) for k, v in clock.seconds.items()},
            "operations": clock.operations / steps, "memory": memory, "reckoned": memory_of_run(chosen[0])}


def single_step(size: str, device: str) -> float:
    """Median seconds of a step of one run alone."""
    run, stamps = prepare(configs(1, size)[0], device), []
    for _ in range(WARM + 3):
        stamps.append(time.perf_counter())
        one_step(run)
        run.step += 1
        synchronize(device)
    stamps.append(time.perf_counter())
    return statistics.median(b - a for a, b in zip(stamps[WARM:], stamps[WARM + 1 :]))


def main():
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default=here)
    parser.add_argument("--runs", default="1,4,16,64,128" if here == "cuda" else "1,2,4", help="how many side by side")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--seconds", type=float, default=300.0, help="for all of it, about")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ends, numbers = time.perf_counter() + args.seconds, [int(n) for n in args.runs.split(",")]
    peer, limit, rows = single_step(args.size, "cpu"), matrix_limit(args.device), []
    if args.device == "cuda":
        alone = single_step(args.size, "cuda")
        rows.append({"what": "one run alone on the GPU", "unit": "runs/min", "ours": round(60 / (HORIZON * alone), 3),
                     "peer": round(60 / (HORIZON * peer), 3), "peer_name": "one run on a core", "ratio": round(peer / alone, 3)})
    for i, number in enumerate(numbers):
        left = ends - time.perf_counter()
        if left < 0:
            print(f"no time left for {numbers[i:]} runs")
            break
        try:
            found = stacked_steps(number, args.size, args.device, left / (len(numbers) - i) / 2)
        except torch.OutOfMemoryError:
            print(f"{number} runs do not fit")
            break
        seconds = found["seconds"]
        rows.append({
            "what": f"{number} run{'s' * (number > 1)} side by side", "unit": "runs/min",
            "ours": round(60 * number / (HORIZON * seconds), 3),
            "peer": round(60 / (HORIZON * peer), 3), "peer_name": "one run on a core", "ratio": round(number * peer / seconds, 2),
            "seconds_per_step": round(seconds, 4), "parts": found["parts"],
            "rest_python": round(seconds - sum(found["parts"].values()), 4),
            "share_of_matrix_limit": round(found["operations"] / seconds / limit, 4),
            "megabytes_per_run": found["memory"] and round(found["memory"] / 1e6, 1),
            "megabytes_reckoned": round(found["reckoned"] / 1e6, 1)})
        print(rows[-1], flush=True)
    keep("stacked", rows, device=args.device, matrix_limit_gflops=round(limit / 1e9))


if __name__ == "__main__":
    main()
