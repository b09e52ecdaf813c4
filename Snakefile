# Which notebooks need which runs. `make study` calls this; `make plan` prints the same jobs.
#
# A job is one arm with its seeds, or one notebook. A run job is named by a hash
# of its runs, so a changed size or rate is another job; file times decide nothing.

import re
import shlex
import sys

from polarity_lib.pretraining import told_mixture
from polarity_lib.study import costs, execution, plan, running

settings = plan.Settings(
    scale=config.get("scale", "tiny"),
    seeds=config.get("seeds"),
    only=str(config.get("only", "")),
    full=bool(config.get("full", False)),
    reuse=config.get("reuse"),
    device=config.get("device"),
)
PYTHON = f"OMP_NUM_THREADS=1 {shlex.quote(sys.executable)} -m polarity_lib".replace("{", "{{").replace("}", "}}")
JOBS = {job.name: job for job in plan.study_jobs(settings)}
STACKS = plan.study_stacks(list(JOBS.values()), settings.device)  # on a GPU, jobs whose runs go side by side
STACKED = {job.name for stack in STACKS for job in stack.jobs}
DEVICE = f" --device {settings.device}" if settings.device else ""  # in no params: another device is no reason to run again
NOTEBOOKS = {path.stem: path for path in plan.notebooks(settings.only)}
STARTS, FIRST = {}, {}  # base policies by name, and the notebook that needs each first
for job in JOBS.values():
    STARTS |= job.starts(settings.reuses)
    FIRST = {name: job.notebook for name in job.starts(settings.reuses)} | FIRST
MARKER = str(running.marker("{job}"))
START_MARKER = str(running.marker("start.{start}"))
EXECUTED = str(settings.executed(plan.NOTEBOOKS / "{notebook}.ipynb"))
BENCHMARKS = str(costs.benchmarks())  # Snakemake leaves the seconds of every job there; the plan learns from them


def run_arguments(wildcards):
    job = JOBS[wildcards.job]
    fresh = [] if settings.reuses else ["--fresh"]
    return shlex.join([job.experiment, "--arms", job.arm, "--scale", settings.scale, "--seeds", str(job.seeds), *fresh])


def stack_arguments(stack):
    asked = ["--scale", settings.scale, "--reuse", str(int(settings.reuses)), *(["--full"] if settings.full else [])]
    asked += ["--seeds", str(settings.seeds)] if settings.seeds else []
    asked += ["--only", settings.only] if settings.only else []
    return shlex.join([*asked, *(job.name for job in stack.jobs)])


def stack_inputs(stack):
    """Base policies of its unfinished runs, and the runs whose updates it copies."""
    starts = {name for job in stack.jobs for name in job.starts(settings.reuses)}
    return [MARKER.format(job=name) for name in stack.needs] + [START_MARKER.format(start=name) for name in sorted(starts)]


def run_inputs(wildcards):
    """Runs it copies from, and its base policies, made once although several jobs begin from them."""
    job = JOBS[wildcards.job]
    return [MARKER.format(job=needed) for needed in job.needs] + [
        START_MARKER.format(start=name) for name in job.starts(settings.reuses)]


def start_arguments(wildcards):
    start = STARTS[wildcards.start]
    mixture = ["--mixture", told_mixture(start.mixture)] if start.mixture else []
    return shlex.join([start.corpus, start.size, str(start.steps), str(start.seed), "--batch", str(start.batch), *mixture])


def notebook_inputs(wildcards):
    """The runs it loads; the summary notebook also waits for every other."""
    path = NOTEBOOKS[wildcards.notebook]
    needed = [MARKER.format(job=name) for name in plan.jobs_needed_by(path, settings, list(JOBS.values()))]
    if plan.is_summary(path):
        needed += [EXECUTED.format(notebook=name) for name in NOTEBOOKS if name != path.stem]
    return needed


def notebook_arguments(wildcards):
    """Those of the study's parameters that this notebook declares."""
    path = NOTEBOOKS[wildcards.notebook]
    known = execution.declared_parameters(path)
    given = running.notebook_parameters(settings, path)
    return shlex.join([word for k, v in given.items() if k in known for word in ("-p", k, str(v))])


def one_of(names):
    return "|".join(map(re.escape, names)) or "none"


rule all:
    input:
        [EXECUTED.format(notebook=name) for name in NOTEBOOKS],


for stack in STACKS:

    rule:
        name: f"stack_{stack.name}"
        input: stack_inputs(stack)
        output: touch([MARKER.format(job=job.name) for job in stack.jobs])
        params: arguments=stack_arguments(stack)
        priority: plan.priority(stack.jobs[0].notebook)
        resources: gpu=1
        shell: PYTHON + " stack {params.arguments}" + DEVICE


# Three rules per notebook, because a priority belongs to a rule: the runs of notebook 00 go first, and
# while its base policy is made another core executes the notebooks that train nothing.
for name in NOTEBOOKS:

    rule:
        name: f"starts_of_{name}"
        wildcard_constraints: start=one_of(start for start, first in FIRST.items() if first == name)
        output: touch(START_MARKER)
        benchmark: BENCHMARKS + "/start.{start}.tsv"
        params: arguments=start_arguments
        priority: plan.priority(name)
        shell: PYTHON + " base-policy {params.arguments}" + DEVICE

    rule:
        name: f"runs_of_{name}"
        wildcard_constraints: job=one_of(job.name for job in JOBS.values() if job.notebook == name and job.name not in STACKED)
        input: run_inputs
        output: touch(MARKER)
        benchmark: BENCHMARKS + "/{job}.tsv"
        params: arguments=run_arguments
        priority: plan.priority(name)
        shell: PYTHON + " run {params.arguments}" + DEVICE

    rule:
        name: f"notebook_{name}"
        wildcard_constraints: notebook=one_of([name])
        input: notebook_inputs
        output: EXECUTED
        benchmark: BENCHMARKS + "/notebook.{notebook}.tsv"
        params:
            arguments=notebook_arguments,
            reasons=lambda wildcards: plan.reasons_to_execute(NOTEBOOKS[wildcards.notebook], settings),
        priority: plan.priority(name, at_once=plan.trains_nothing(NOTEBOOKS[name], settings))
        shell: PYTHON + " notebook {wildcards.notebook:q} --output {output:q} {params.arguments}"
