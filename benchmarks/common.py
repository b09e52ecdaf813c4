"""What every benchmark shares: the machine, versions, and how a measurement is kept."""

import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch

from polarity_lib.outside import strict_json

RESULTS = Path(__file__).parent / "results"


def machine() -> dict:
    """The processor, its float32 speed on one thread (the floor of everything else), and threads used."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":")[1].strip() for line in told if "model name" in line]
    a, b = torch.randn(4096, 128), torch.randn(128, 384)
    seconds = fastest(lambda: a @ b, 50)
    return {"processor": names[0] if names else platform.processor(), "threads": torch.get_num_threads(),
            "gflops_float32": round(2 * a.shape[0] * b.numel() / seconds / 1e9, 1),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None}


def fastest(call, repeats: int) -> float:
    """Seconds of the fastest of several calls, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def keep(name: str, rows: list[dict], packages=("torch", "transformers"), folder: Path = RESULTS, **more) -> None:
    """Write <folder>/<name>.json and print it. Each row: what, unit, ours, peer, ratio.

    What stands in the runs folder's `benchmarks` is committed by `make publish`.
    """
    record = {"machine": machine(), "versions": {p: version(p) for p in packages}, "measured": rows,
              "ours": {r["what"]: r["ours"] for r in rows}, "peer": {r["what"]: r["peer"] for r in rows},
              "ratio": {r["what"]: r["ratio"] for r in rows}}
    record |= more
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(strict_json(record, indent=1) + "\n", encoding="utf-8")
    print(strict_json(record, indent=1))
