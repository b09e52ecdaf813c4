"""How fast a tiny policy samples: ours beside transformers' generate, in one run.

    python benchmarks/sampling.py

Counts response tokens that reach somebody, end of text included; tokens that
`generate` pads after a row has ended do not count. One thread.
"""

import torch
from common import fastest, keep

from polarity_lib.config import StartConfig
from polarity_lib.pretraining import base_policy
from polarity_lib.problems import world_named
from polarity_lib.engines import FastSampler, ModelSampler

CASES = [("training batch", 32, 8), ("curve", 100, 16), ("final evaluation", 50, 64), ("pass@256", 20, 256)]


def by_generate(policy, problems, group_size: int, limit: int) -> int:
    """The same batch through transformers; returns how many tokens it made."""
    tokenizer = policy.tokenizer
    tokenizer.padding_side = "left"
    batch = tokenizer([p.prompt for p in problems for _ in range(group_size)], return_tensors="pt", padding=True,
                      return_token_type_ids=False)
    width = batch["input_ids"].shape[1]
    with torch.inference_mode():
        out = policy.model.generate(**batch, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=limit)[:, width:]
    ended = (out == tokenizer.eos_token_id).int().cumsum(1)
    return int(((ended == 0) | ((ended == 1) & (out == tokenizer.eos_token_id))).sum())


def main():
    torch.set_num_threads(1)
    policy = base_policy(StartConfig("countdown", "tiny", 1000, 0))
    rows = []
    for what, prompts, group_size in CASES:
        problems = world_named("countdown4").draw("validation", prompts, 0)
        fast, plain = FastSampler(policy), ModelSampler(policy)
        tokens = int(fast.sample(problems, group_size, "bench").mask_NT.sum())
        ours = tokens / fastest(lambda: fast.sample(problems, group_size, "bench"), 5)
        tree = tokens / fastest(lambda: plain.sample(problems, group_size, "bench"), 3)
        made = by_generate(policy, problems, group_size, 16)
        peer = made / fastest(lambda: by_generate(policy, problems, group_size, 16), 3)
        rows.append({"what": f"{what}: {prompts} x {group_size}", "unit": "tokens/s", "ours": round(ours),
                     "peer": round(peer), "peer_name": "transformers generate", "ratio": round(ours / peer, 2),
                     "our_general_sampler": round(tree)})
    keep("sampling", rows)


if __name__ == "__main__":
    main()
