"""What A3PO's and LENS's shaping costs: its seconds beside those of the whole training step, in one run.

    python benchmarks/shaping.py

Chain world, zero-RL start, four mini-batches, 256 rollouts a step: 32 x 8 for A3PO, 16 x 16 for
LENS, the sizes of notebooks 32 and 41. `ours` is the shaping alone, `peer` a step of the same run,
both medians on one thread; ratio = ours / peer, the share of a step.

    a3po    ranking tokens and multiplying the advantages by their weights, which GRPO does not do
    lens    its advantages, from rewards to tokens; GRPO's, which they replace, stand beside them
"""

from statistics import median

import torch
from common import keep, seconds_of

from polarity_lib import training
from polarity_lib.config import RunConfig, StartConfig
from polarity_lib.engines import make_sampler
from polarity_lib.methods import Progress, method_named
from polarity_lib.papers.a3po.methods import A3POOptions, chosen_weights
from polarity_lib.run import prepare
from polarity_lib.verification import verify

START = StartConfig("chain_zero", "tiny", 300, 0)
SIZES = {"a3po": (32, 8), "lens": (16, 16)}
STEPS = 12
REPEATS = 200


def next_batch(run):
    """Judged rollouts, as the next step of the run would draw them."""
    config = run.config
    problems = run.stream.take(config.prompts_per_step)
    rollouts = make_sampler(run.policy).sample(problems, config.rollouts_per_prompt, "bench")
    return rollouts.but(verdicts=verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist()))


def measure(name: str) -> dict:
    """One row: seconds of a method's shaping and of its whole step."""
    prompts, group_size = SIZES[name]
    config = RunConfig(name, "chain", START, 0, steps=60, learning_rate=2e-5, prompts_per_step=prompts,
                       rollouts_per_prompt=group_size, minibatches=4)
    run = prepare(config, "cpu")

    def step():
        training.one_step(run)
        run.step += 1

    peer = median(seconds_of(step, STEPS))
    batch, progress = next_batch(run), Progress(run.step, config.steps, config.minibatches)
    rewards_N = run.method.reward(batch)
    base = method_named("grpo").advantage

    def weigh():
        options = A3POOptions()
        return base_NT * chosen_weights(batch, options.weight_at(progress), options.fraction, options.selection, run.step)

    base_NT = base(batch, rewards_N, progress)
    shaping = weigh if name == "a3po" else lambda: run.method.advantage(batch, rewards_N, progress)
    ours = median(seconds_of(shaping, REPEATS))
    grpo = median(seconds_of(lambda: base(batch, rewards_N, progress), REPEATS))
    return {"what": f"shaping of a batch: {name}", "unit": "s", "share": True, "ours": round(ours, 6), "peer": round(peer, 4),
            "peer_name": f"a whole step, {prompts} x {group_size}", "ratio": round(ours / peer, 6),
            "grpo_advantage": round(grpo, 6), "tokens": int(batch.mask_NT.sum())}


def main():
    torch.set_num_threads(1)
    rows = [measure(name) for name in SIZES]
    keep("shaping", rows)  # claim LENS-C13 reads its ratio


if __name__ == "__main__":
    main()
