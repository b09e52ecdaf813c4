"""What every benchmark shares: the machine, versions, a model to compare on, and how a measurement is kept."""

import functools
import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from polarity_lib.outside import strict_json
from polarity_lib.policy import build_tokenizer
from polarity_lib.results import runs_root


@functools.cache
def machine() -> dict:
    """The processor, its float32 speed on one thread (the floor of everything else), and threads used."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":")[1].strip() for line in told if "model name" in line]
    a, b = torch.randn(4096, 128), torch.randn(128, 384)
    seconds = fastest(lambda: a @ b, 50)
    return {"processor": names[0] if names else platform.processor(), "threads": torch.get_num_threads(),
            "gflops_float32": round(2 * a.shape[0] * b.numel() / seconds / 1e9, 1),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None}


def seconds_of(call, repeats: int) -> list[float]:
    """How long each of several calls took, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def fastest(call, repeats: int) -> float:
    """Seconds of the fastest of several calls, after one to warm up."""
    return min(seconds_of(call, repeats))


KINDS = {  # torch's own names begin so
    "matrix products": ("mm", "addmm", "bmm", "baddbmm"),
    "attention": ("_scaled_dot_product",),
    "copying": ("copy_", "cat", "index", "clone", "gather", "scatter", "fill_"),
}


def shares(call) -> dict[str, float]:
    """Where a call's time goes, by kind of torch operation; the rest is Python and the calls themselves.

    The profiler's own cost is in it, and falls on many small operations most.
    """
    began = time.perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        call()
    wall, found = time.perf_counter() - began, {"other operations": 0.0}
    for event in seen.key_averages():
        name = event.key.removeprefix("aten::")
        kind = next((kind for kind, names in KINDS.items() if name.startswith(names)), "other operations")
        if name != event.key:
            found[kind] = found.get(kind, 0.0) + event.self_cpu_time_total / 1e6
    found["Python and calls"] = max(0.0, wall - sum(found.values()))
    return {kind: round(seconds / wall, 3) for kind, seconds in sorted(found.items(), key=lambda item: -item[1])}


def arithmetic(call) -> float:
    """Floating point operations of a call's matrix products and attention, forward and backward, counted by torch."""
    with FlopCounterMode(display=False) as counted:
        call()
    return float(counted.get_total_flops())


def floor_of(operations: float) -> float:
    """Seconds that so many operations take at least, at the speed of one large matrix product on this thread."""
    return operations / (1e9 * machine()["gflops_float32"])


def write_qwen2(folder: Path, seed: int = 0, vocabulary: int = 32, **changes) -> Path:
    """A Qwen2-shaped model of 1 M random parameters over the worlds' symbols, with its tokenizer, as a checkpoint.

    It never ends an answer, so both sides of a comparison compute the same tokens: one number of its embedding is large for
    every symbol, stays so through all layers, and speaks against the end of text.

    Args:
        vocabulary: rows of the embedding, more than there are symbols; no answer holds the rest.
        changes: fields of Qwen2Config.
    """
    tokenizer = build_tokenizer()
    shape = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
             "intermediate_size": 512, "max_position_embeddings": 16384, "tie_word_embeddings": False} | changes
    config = Qwen2Config(vocab_size=vocabulary, pad_token_id=tokenizer.pad_token_id,
                         eos_token_id=tokenizer.eos_token_id, bos_token_id=None, **shape)
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 5.0
        for never in (tokenizer.eos_token_id, tokenizer.pad_token_id, slice(len(tokenizer), None)):
            model.lm_head.weight[never, 0] = -5.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def keep(name: str, rows: list[dict], packages=("torch", "transformers"), **more) -> None:
    """Write <name>.json into the runs folder's `benchmarks` and print it. Each row: what, unit, ours, peer, ratio.

    What is committed, in benchmarks/results, changes by `make publish` alone.
    """
    folder = runs_root() / "benchmarks"
    record = {"machine": machine(), "versions": {p: version(p) for p in packages}, "measured": rows,
              "ours": {r["what"]: r["ours"] for r in rows}, "peer": {r["what"]: r["peer"] for r in rows},
              "ratio": {r["what"]: r["ratio"] for r in rows}}
    record |= more
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(strict_json(record, indent=1) + "\n", encoding="utf-8")
    print(strict_json(record, indent=1))
