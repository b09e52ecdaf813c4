"""What a person waits for: imports, the plan, the first figure, a notebook whose runs are finished.

    python benchmarks/waiting.py                 --no-training: without the first figure, which trains a small study

Every command is a process of its own, as a person starts it. Beside each, where there is one, the part that is not ours:
the imports of torch, pandas and matplotlib, or the start of a Jupyter kernel that runs nothing. `cells`: the slowest ones.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbclient
import nbformat
from common import fastest, keep

from polarity_lib.experiments import experiment
from polarity_lib.results import ROOT
from polarity_lib.study.plan import Settings, experiments_of, is_finished, notebook_numbered, notebooks

PEERS = "import torch, pandas, matplotlib.pyplot"


def finished() -> list[Path]:
    """Notebooks that show runs, all of them committed at the notebook's own parameters, so that nothing is trained."""
    settings = Settings(reuse=True)
    names = {path: experiments_of(path, settings) for path in notebooks()}
    return [path for path, some in names.items() if some and all(
        is_finished(arm.config, reuse=True) for name in some for arm in experiment(name, "all", settings.scale, 1))]


def command(*words: str) -> float:
    """Seconds of a Python process, the faster of two after one to warm the disk."""
    return fastest(lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=ROOT), 2)


def opened(path: Path | None, runs: str, changes: dict) -> tuple[float, float, dict[str, float]]:
    """Run a notebook, or nothing, in a fresh kernel: seconds to its first picture and to its end, and of its slowest cells."""
    book = nbformat.read(path, 4) if path else nbformat.v4.new_notebook()
    for cell in book.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += "".join(f"\n{name} = {value!r}" for name, value in changes.items())
    stamps, pictures, began = {}, [], time.perf_counter()

    def after(cell, cell_index, **_):
        stamps[cell_index] = time.perf_counter() - began - sum(stamps.values())
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            pictures.append(time.perf_counter() - began)

    client = nbclient.NotebookClient(book, timeout=None, kernel_name="python3", on_cell_executed=after,
                                     resources={"metadata": {"path": str(path.parent if path else ROOT)}})
    before = os.environ.get("POLARITY_RUNS")
    os.environ["POLARITY_RUNS"] = runs
    try:
        client.execute()
    finally:
        os.environ.pop("POLARITY_RUNS") if before is None else os.environ.update(POLARITY_RUNS=before)
    whole = time.perf_counter() - began
    first_lines = {book.cells[i].source.splitlines()[0]: round(s, 1) for i, s in stamps.items() if book.cells[i].source}
    return pictures[0] if pictures else whole, whole, dict(sorted(first_lines.items(), key=lambda item: -item[1])[:4])


def row(what: str, ours: float, peer: float | None = None, peer_name: str = "", **more) -> dict:
    """`ratio`: how much of the wait is not ours."""
    return {"what": what, "unit": "s", "ours": round(ours, 2), "peer": peer and round(peer, 2), "peer_name": peer_name,
            "ratio": peer and round(peer / ours, 2)} | more


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-training", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one notebook that trains nothing, to see that it runs")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    peers = command("-c", PEERS)
    imported = command("-c", "import polarity_lib.study.notebook")
    rows = [row("import of the library, its papers and drawing", imported, peers, PEERS)]
    if not args.quick:
        rows.append(row("make plan, of the preview", command("-m", "polarity_lib", "plan"), peers, PEERS))
        rows.append(row("make plan FULL=1", command("-m", "polarity_lib", "plan", "--full"), peers, PEERS))
    with tempfile.TemporaryDirectory() as runs:
        kernel = opened(None, runs, {})[1]
        for path in [notebook_numbered("02")] if args.quick else finished():
            first, whole, cells = opened(path, runs, {"scale": "smoke"} if args.quick else {})
            rows.append(row(f"notebook {path.stem}, runs finished: all cells", whole, kernel, "a kernel that runs nothing",
                            first_picture=round(first, 1), cells=cells))
        if not (args.no_training or args.quick):
            path = notebook_numbered("00")
            first, whole, cells = opened(path, runs, {})
            rows.append(row(f"notebook {path.stem}, from nothing: first figure", first, cells=cells))
            rows.append(row(f"notebook {path.stem}, from nothing: all cells", whole))
    keep("waiting", rows, ("torch", "pandas", "jupyterlab"))


if __name__ == "__main__":
    main()
