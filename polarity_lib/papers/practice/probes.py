"""How far a finished policy stands from its base: what a divergence term is about (P3)."""

import torch

from polarity_lib.config import RunConfig
from polarity_lib.diagnostics import token_average
from polarity_lib.evaluation import sample_test
from polarity_lib.models import as_it_began
from polarity_lib.policy import Policy, token_logprobs
from polarity_lib.layout import pack_rows

PROBLEMS, SAMPLES = 60, 8


@torch.no_grad()
def from_base(policy: Policy, config: RunConfig) -> dict[str, float]:
    """from_base/kl: mean log pi - log pi_base over tokens of sampled test answers; from_base/entropy_gap: entropies, the same."""
    rollouts = sample_test(policy, config, "from_base", PROBLEMS, SAMPLES)
    base = as_it_began(policy, config.start)
    packed = pack_rows(rollouts, torch.ones(len(rollouts), dtype=torch.bool), base)
    base_NT, entropies_NT, _ = token_logprobs(base.model, packed, rollouts.mask_NT.to(base.device), 1.0)
    return {"from_base/kl": token_average(rollouts.logprobs_NT - base_NT.cpu(), rollouts.mask_NT),
            "from_base/entropy_gap": token_average(rollouts.entropies_NT - entropies_NT.cpu(), rollouts.mask_NT)}


PROBES = {"from_base": from_base}
