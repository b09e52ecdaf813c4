"""Peak memory of log-probabilities and their gradient with a large vocabulary: in chunks, and all at once.

    python benchmarks/step_memory.py                   --device cuda on a GPU

A long answer over 150,000 tokens of vocabulary. All at once, logits, their logarithms and the gradients of both lie side by
side; in chunks, a part of the positions is read, and read again for its gradient. Each way runs in a process of its own, so
that what the operating system counted for it is its own; what the process held before is subtracted. The numbers must agree.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from common import keep, write_qwen2

from polarity_lib.loading import load_policy
from polarity_lib.policy import one_row_each, token_logprobs, vocabulary_of

VOCABULARY = 150_000
COMPARED = "logprobs", "entropies", "slopes"
SHAPE = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}


def peak(device: str) -> float:
    """Megabytes."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def one_way(folder: str, length: int, chunks: bool, device: str) -> dict:
    """What one way takes and gives."""
    torch.set_num_threads(1)
    policy = load_policy(folder, device)
    answer = torch.randint(2, 20, (length,), generator=torch.Generator().manual_seed(0)).tolist()
    laid_out, mask_NT = one_row_each([([5] * 16, [answer])]), torch.ones(1, length)
    for p in policy.model.parameters():  # what any way needs is there before
        p.grad = torch.zeros_like(p)
    before, began = peak(device), time.perf_counter()
    logprobs_NT, entropies_NT, _ = token_logprobs(policy.model, laid_out, mask_NT, chunk=None if chunks else length)
    logprobs_NT.sum().backward()
    seconds = time.perf_counter() - began
    slope = policy.model.lm_head.weight.grad[:20].flatten().cpu()
    return {"megabytes": peak(device) - before, "seconds": seconds, "logprobs": logprobs_NT[0, :50].tolist(),
            "entropies": entropies_NT[0, :50].tolist(), "slopes": slope[:200].tolist(),
            "at_once": length * vocabulary_of(policy.model) * 4 / 1e6}


def in_a_process(*how) -> dict:
    told = subprocess.run([sys.executable, __file__, "--way", json.dumps(how)], check=True, capture_output=True,
                          encoding="utf-8")
    return json.loads(told.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        return print(json.dumps(one_way(*json.loads(asked.way))))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = 1000 if asked.quick else VOCABULARY
        write_qwen2(Path(folder), vocabulary=vocabulary, **SHAPE)
        for length in (64,) if asked.quick else (1024, 2048, 4096):
            chunks, naive = (in_a_process(folder, length, way, asked.device) for way in (True, False))
            gaps = {name: max(abs(a - b) for a, b in zip(chunks[name], naive[name])) for name in COMPARED}
            rows.append({"what": f"log-probabilities, entropy and gradient of {length} tokens over {vocabulary} of vocabulary",
                         "unit": "MB", "ours": round(chunks["megabytes"]), "peer": round(naive["megabytes"]),
                         "peer_name": "all logits at once", "ratio": round(naive["megabytes"] / max(1, chunks["megabytes"]), 2),
                         "seconds": round(chunks["seconds"], 2), "peer_seconds": round(naive["seconds"], 2),
                         "one_tensor_of_logits": round(naive["at_once"]), "largest_difference": gaps})
    keep("step_memory" if asked.device == "cpu" else f"step_memory_{asked.device}", rows)


if __name__ == "__main__":
    main()
