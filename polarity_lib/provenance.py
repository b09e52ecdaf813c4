"""Where and when a run was made: what a stranger needs to check that a rule is older than its runs.

Kept in a run folder's record.json and, published, in a line of runs.csv. None of it enters a run's hash.
"""

import hashlib
import os
import platform
import time
from importlib.metadata import version

import torch

from polarity_lib.results import current_commit

LIBRARIES = ("torch", "transformers", "numpy", "pandas")


def processor() -> str:
    """The processor's name and the number of cores."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def blas() -> str:
    """The linear algebra library that torch was built with."""
    found = [part for part in torch.__config__.show().replace("\n", ",").split(",") if "BLAS_INFO=" in part]
    return found[0].split("BLAS_INFO=")[1].strip() if found else "unknown"


def weights_hash(model: torch.nn.Module) -> str:
    """Sixteen digits that name a model's weights, bit for bit."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(name.encode() + tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


def machine_of(device: str) -> str:
    """The name of what computes."""
    return torch.cuda.get_device_name() if device == "cuda" else processor()


def provenance(model: torch.nn.Module, device: str) -> dict[str, str]:
    """Start, commit, machine, libraries, and the base weights that a run begins from.

    `commit` ends in "+" where files differed from it.
    """
    return {
        "started": time.strftime("%FT%TZ", time.gmtime()), "commit": current_commit(),
        "machine": machine_of(device),
        "instructions": torch.backends.cpu.get_cpu_capability(), "blas": blas(), "threads": str(torch.get_num_threads()),
        "python": platform.python_version(), **{library: version(library) for library in LIBRARIES},
        "base_weights": weights_hash(model),
    }
