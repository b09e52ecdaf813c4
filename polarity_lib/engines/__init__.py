"""Engines: what samples answers. Each offers

    sample(problems, rollouts_per_prompt, seed) -> Rollouts

and the two of torch turn the same uniform numbers into the same tokens.

    torch_sampler  any causal model of transformers
    fast_sampler   a decoder copied from a small Llama-shaped policy, for many short answers
    prefixes       which rows a model runs: one for every distinct prefix
    cache          the fast sampler's keys and values, row by row
    stacked        many policies of one shape as one batched model, for a GPU
    vllm           vLLM, for real models; imported only where a policy has such an engine
"""

from polarity_lib.engines.fast_sampler import FastSampler
from polarity_lib.engines.torch_sampler import ModelSampler, TorchSampler
from polarity_lib.policy import Policy

__all__ = ["FastSampler", "ModelSampler", "make_sampler"]


def make_sampler(policy: Policy, **options) -> TorchSampler:
    """The policy's engine if it has one; else the fast sampler where the policy's shape allows it, else the general one."""
    if policy.engine is not None:
        return policy.engine.sampler(**options)
    return (FastSampler if FastSampler.supports(policy.model) else ModelSampler)(policy, **options)
