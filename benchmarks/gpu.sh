#!/bin/sh
# Everything about stacked runs that needs a GPU, in under ten minutes: the tests, a small experiment from end to end,
# the measurements. Results go to POLARITY_RUNS (default data/runs): benchmarks/stacked.json and gpu.log.
#
#     sh benchmarks/gpu.sh            PYTHON=python3 sh benchmarks/gpu.sh
set -u
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}
export POLARITY_RUNS=${POLARITY_RUNS:-data/runs} OMP_NUM_THREADS=1 PYTHONPATH=.
mkdir -p "$POLARITY_RUNS"
{
    timeout 180 "$PYTHON" -m pytest -q -m gpu tests/test_gpu.py -p no:cacheprovider
    echo "tests: status $?"
    timeout 90 "$PYTHON" -m polarity_lib run psr_nsr_search --scale smoke --seeds 4 --fresh --device cuda
    echo "an experiment from end to end: status $?"
    timeout 300 "$PYTHON" benchmarks/stacked.py --seconds 220
    echo "measurements: status $?"
} 2>&1 | tee "$POLARITY_RUNS/gpu.log"
