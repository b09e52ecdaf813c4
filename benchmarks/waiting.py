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
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import nbformat
from common import fastest, keep

from polarity_lib.experiments import experiment
from polarity_lib.results import ROOT
from polarity_lib.study.execution import execute
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


def opened(path: Path, folder: Path, parameters: dict) -> tuple[float, float, dict[str, float]]:
    """Execute a notebook as the study does: seconds to its last picture and to its end, and of its slowest cells."""
    began = time.time()
    execute(path, folder / f"{path.stem}.executed.ipynb", parameters)
    whole = time.time() - began
    cells = nbformat.read(folder / f"{path.stem}.executed.ipynb", 4).cells
    done = [(cell.source.partition("\n")[0], cell.metadata.papermill) for cell in cells if cell.cell_type == "code"]
    pictures = [datetime.fromisoformat(cell.metadata.papermill.end_time).replace(tzinfo=UTC).timestamp() - began
                for cell in cells if any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))]
    slowest = sorted(done, key=lambda item: -item[1].duration)[:4]
    return max(pictures, default=whole), whole, {line: round(told.duration, 1) for line, told in slowest}


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
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, POLARITY_RUNS=folder):  # nothing is there yet
        runs = Path(folder)
        empty = runs / "empty.ipynb"
        nbformat.write(nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}), empty)
        kernel = opened(empty, runs, {})[1]
        own = {"figures_dir": f"{folder}/figures"}
        for path in [notebook_numbered("02")] if args.quick else finished():
            last, whole, cells = opened(path, runs, own | ({"scale": "smoke"} if args.quick else {}))
            rows.append(row(f"notebook {path.stem}, runs finished: all cells", whole, kernel, "a kernel that runs nothing",
                            last_picture=round(last, 1), cells=cells))
        if not (args.no_training or args.quick):
            path = notebook_numbered("00")
            last, whole, cells = opened(path, runs, own | {"reuse_published": False})
            rows.append(row(f"notebook {path.stem}, from nothing: the figure of its runs", last, cells=cells))
            rows.append(row(f"notebook {path.stem}, from nothing: all cells", whole))
    keep("waiting", rows, ("torch", "pandas", "jupyterlab"))


if __name__ == "__main__":
    main()
