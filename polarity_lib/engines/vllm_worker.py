"""Inside vLLM's own process: weights are taken in place. Loaded there by name; nothing else imports it, since vLLM may be absent.

On a CPU vLLM packs the weights of linear layers for its kernels when a model is loaded and keeps the packed copy alone, so
weights that come later change nothing, silently. Here such layers keep their weights and use the plain kernel.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from vllm.model_executor.layers import utils
from vllm.platforms import current_platform


def plain_kernel(layer: torch.nn.Module, remove_weight: bool = False) -> None:
    """What vLLM does with a linear layer on a CPU once its weights are loaded; here nothing is packed."""
    layer.cpu_linear = torch.nn.functional.linear


if current_platform.is_cpu():
    utils.dispatch_cpu_unquantized_gemm = plain_kernel


class TakesWeights:
    """What our engine can ask of a worker."""

    def take_weights(self, file: str) -> int:
        """Copy a file's tensors over the model's, as its own loader places them; returns how many parameters were reached."""
        reached = self.model_runner.model.load_weights(load_file(Path(file)).items())
        return len(reached)
