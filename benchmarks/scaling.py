"""Time and memory of a training step against what grows: parameters, answers' length, group size, the prompt's length.

    python benchmarks/scaling.py                       --device cuda on a GPU

One update, forward and backward, of Qwen2-shaped policies on answers of full length; what a step of a run does besides is in
rl_step.py. The last rows ask what a prompt that is computed once saves: beside a row for each answer behind its own copy.
Several runs side by side are in stacked.py.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from common import keep, seconds_of, write_qwen2

from polarity_lib.loading import load_policy
from polarity_lib.policy import one_row_each, pack_groups, token_logprobs

SHAPES = {
    "0.25 M": {"num_hidden_layers": 1},
    "1 M": {},
    "6 M": {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6},
    "25 M": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6, "num_attention_heads": 8},
}


def bundles(prompts: int, prompt: int, group: int, answer: int) -> list:
    """Random tokens."""
    draw = torch.Generator().manual_seed(0)

    def some(count):
        return torch.randint(2, 20, (count,), generator=draw).tolist()

    return [(some(prompt), [some(answer) for _ in range(group)]) for _ in range(prompts)]


def update_seconds(policy, batch: list, lay_out, repeats: int) -> float:
    """Median seconds of a forward and a backward pass."""
    mask_NT = torch.ones(sum(len(rows) for _, rows in batch), len(batch[0][1][0]))
    laid_out = lay_out(batch)

    def update():
        policy.model.zero_grad()
        token_logprobs(policy.model, laid_out, mask_NT)[0].sum().backward()
        if policy.device.type == "cuda":
            torch.cuda.synchronize()

    return statistics.median(seconds_of(update, repeats))


def grown(device: str, quick: bool):
    """(what, shape, prompts, prompt, group, answer) of every row without a peer."""
    sizes = ("0.25 M",) if quick else SHAPES
    for name in sizes:
        yield f"{name} parameters, 4 x 8 x 64 behind 64", SHAPES[name], 4, 64, 8, 64
    for length in (64,) if quick else (64, 256, 1024):
        yield f"1 M parameters, 4 x 4, answers of {length} behind 64", {}, 4, 64, 4, length
    for size in (4,) if quick else (4, 16, 64):
        yield f"1 M parameters, 2 groups of {size}, 64 behind 64", {}, 2, 64, size, 64


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    repeats, rows = (1 if asked.quick else 3), []

    def read(shape):
        with tempfile.TemporaryDirectory() as folder:
            return load_policy(write_qwen2(Path(folder), **shape), asked.device)

    for what, shape, prompts, prompt, group, answer in grown(asked.device, asked.quick):
        seconds = update_seconds(read(shape), bundles(prompts, prompt, group, answer), pack_groups, repeats)
        rows.append({"what": f"update: {what}", "unit": "s", "ours": round(seconds, 4),
                     "peer": None, "peer_name": None, "ratio": None,
                     "answer_tokens_per_second": round(prompts * group * answer / seconds)})
    policy = read({})
    for prompt in (64,) if asked.quick else (256, 1024, 4096):
        batch = bundles(1, prompt, 8, 256)
        ours, peer = (update_seconds(policy, batch, lay_out, repeats) for lay_out in (pack_groups, one_row_each))
        rows.append({"what": f"update: 8 answers of 256 behind one prompt of {prompt}", "unit": "s", "ours": round(ours, 4),
                     "peer": round(peer, 4), "peer_name": "a row for each answer", "ratio": round(peer / ours, 2)})
    keep("scaling" if asked.device == "cpu" else f"scaling_{asked.device}", rows)


if __name__ == "__main__":
    main()
