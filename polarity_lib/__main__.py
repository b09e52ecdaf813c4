"""The command line; `make help` lists the same as make targets.

    python -m polarity_lib plan --scale tiny
    python -m polarity_lib run psr_nsr_latent --arms nsr,grpo --seeds 2
    python -m polarity_lib notebook 10 -p scale tiny -p seeds 2
    python -m polarity_lib study --only 10 --seeds 3
    python -m polarity_lib study --only 10 --scale paper --model Qwen/Qwen3-0.6B --with engine=vllm
    python -m polarity_lib own completions/ --methods grpo,psr,nsr --recheck
    python -m polarity_lib compare mine.py --against grpo,psr --worlds latent --seeds 8
    python -m polarity_lib publish

argparse does it: a few commands with plain options need no dependency.
"""

import argparse
import difflib
import os
import sys
from pathlib import Path

from polarity_lib.config import ConfigError, scale_named
from polarity_lib.outside import cores_allowed, end_in_one_line
from polarity_lib.results import ROOT, runs_root


class Parser(argparse.ArgumentParser):
    """argparse, with the near misses of a misspelt option."""

    def parse_args(self, args=None, namespace=None):
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [o for a in _all_actions(self) for o in a.option_strings]
            near = difflib.get_close_matches(unknown[0].split("=")[0], dict.fromkeys(known), n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            self.error(f"unknown argument {unknown[0]}.{hint}")
        return found


def _all_actions(parser):
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _all_actions(sub)


def whole_number(text: str) -> int:
    """An argument that must be 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


DEVICES = ("cpu", "cuda")


def build_parser() -> Parser:
    """Every command with its options."""
    parser = Parser(prog="python -m polarity_lib", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    for add in (add_runs, add_studies, add_methods, add_pages):
        add(commands)
    return parser


def add_runs(commands) -> None:
    """One experiment, base policy, rate, notebook or model."""
    run = commands.add_parser("run", help="compute or continue arms of an experiment", allow_abbrev=False)
    run.add_argument("experiment")
    run.add_argument("--arms", default="all", help="names separated by commas")
    run.add_argument("--scale", default="tiny")
    add_model(run)
    run.add_argument("--seeds", type=whole_number, default=1)
    run.add_argument("--fresh", action="store_true", help="compute here even what is committed in data/results")
    run.add_argument("--device", choices=DEVICES, help="cuda: runs of one shape side by side, as one batched model")

    start = commands.add_parser("base-policy", help="make and cache one base policy", allow_abbrev=False)
    start.add_argument("corpus")
    start.add_argument("size")
    start.add_argument("steps", type=whole_number)
    start.add_argument("seed", type=int)
    start.add_argument("--mixture", default="", help="sources of the last phase: name=weight, separated by commas")
    start.add_argument("--batch", type=whole_number, default=192, help="texts per step")
    start.add_argument("--device", choices=DEVICES)

    tune = commands.add_parser("tune", help="choose a method's learning rate in a world, on validation seeds", allow_abbrev=False)
    tune.add_argument("world")
    tune.add_argument("methods", help="names separated by commas")
    tune.add_argument("--scale", default="tiny")

    notebook = commands.add_parser("notebook", help="run one notebook through papermill", allow_abbrev=False)
    notebook.add_argument("name", help="number, name or path")
    notebook.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    notebook.add_argument("--output", type=Path, help="default: data/runs/notebooks/<name>.ipynb")

    export = commands.add_parser("export", help="write the model that a run trained as one checkpoint, with its card",
                                 allow_abbrev=False)
    export.add_argument("run", help="the name of its folder, or a path to it")
    export.add_argument("folder", help="where the checkpoint goes; must not exist")


def add_studies(commands) -> None:
    """Many runs and the notebooks that read them."""
    for name, text in (("study", "run notebooks and what they need"), ("plan", "runs and hours, without running"),
                       ("report", "Snakemake's page about a finished study: jobs, times, files"),
                       ("stack", "compute some of a study's jobs side by side on a GPU, as `study --device cuda` asks for")):
        study = commands.add_parser(name, help=text, allow_abbrev=False)
        if name == "stack":
            study.add_argument("jobs", nargs="+", help="names of jobs, as the plan makes them")
        study.add_argument("--scale", default="tiny")
        add_model(study)
        study.add_argument("--seeds", type=whole_number)
        study.add_argument("--only", default="", help="notebooks by number, separated by commas")
        study.add_argument("--full", action="store_true", help="the committed study")
        study.add_argument("--reuse", type=int, choices=(0, 1), help="take runs committed in data/results")
        study.add_argument("--device", choices=DEVICES, help="cuda: runs of one shape side by side, as one batched model")
        study.add_argument("--cores", type=whole_number, default=cores_allowed())
        study.add_argument("--profile", default="", help="run jobs elsewhere: slurm, kubernetes, or a folder with a config.yaml")
        study.add_argument("--dry-run", action="store_true", help="list the jobs only")


def add_methods(commands) -> None:
    """Methods on somebody else's rollouts, and somebody's method beside others."""
    own = commands.add_parser("own", help="what each method would do with rollouts that somebody else's run logged",
                              allow_abbrev=False)
    own.add_argument("table", help="parquet, CSV or JSON lines; a file or a folder of them")
    own.add_argument("--columns", default="", help="response=text,reward=a+b: which column holds what")
    own.add_argument("--methods", default="all", help="names separated by commas")
    own.add_argument("--right-above", type=float, default=0.5, help="rows whose reward is larger are right")
    own.add_argument("--step", default="", help="which logged step; the last by default")
    own.add_argument("--model", default="", help="folder or hub name: read log-probabilities and compare gradients with it")
    own.add_argument("--recheck", action="store_true", help="judge the responses again by the mathematics verifier")

    compare = commands.add_parser("compare", help="your method beside others: tuned, run with controls, judged, drawn",
                                  allow_abbrev=False)
    compare.add_argument("method", help="a registered name, file.py, or file.py:name")
    compare.add_argument("--against", default="grpo,psr", help="methods, separated by commas")
    compare.add_argument("--worlds", default="latent,search", help="separated by commas")
    compare.add_argument("--seeds", type=whole_number, default=8)
    compare.add_argument("--scale", default="tiny")
    compare.add_argument("--cores", type=whole_number, default=cores_allowed())
    compare.add_argument("--dry-run", action="store_true", help="check the method and print the cost only")


def add_pages(commands) -> None:
    """What is committed, and what is thrown away."""
    commands.add_parser("publish", help="collect the committed study from data/runs into data/results")
    pages = commands.add_parser("pages", help="write the README's findings and the pages of docs/ that are made from tables")
    pages.add_argument("--check", action="store_true", help="exit 1 if one is out of date")
    clean = commands.add_parser("clean-runs", help="delete data/runs, after asking")
    clean.add_argument("--yes", action="store_true", help="do not ask")


def add_model(parser) -> None:
    """What scale paper takes besides."""
    parser.add_argument("--model", default="", help="at scale paper: a language model, hub id or folder")
    parser.add_argument("--with", dest="changes", default="", help="what differs from its sizes: engine=vllm,steps=20")


def scale_of(args) -> str:
    """The scale with the model behind it, as notebooks and jobs know it: paper:MODEL,field=value."""
    if not args.model:
        if args.changes:
            raise ConfigError("--with (WITH=...) changes the sizes of a model's runs: name the model, MODEL=<hub id or folder>.")
        return args.scale
    model = os.path.abspath(args.model) if Path(args.model).is_dir() else args.model
    scale = ",".join([f"{args.scale}:{model}", *filter(None, args.changes.replace(" ", ",").split(","))])
    if scale_named(scale).model != model:
        raise ConfigError(f"--with wants field=value, separated by commas, not {args.changes!r}.")
    return scale


def command_run(args) -> None:
    """Compute or continue arms of an experiment."""
    from polarity_lib.experiments import experiment, train_or_load

    refuse_missing(args.device)
    arms = experiment(args.experiment, args.arms, scale_of(args), args.seeds)
    train_or_load(arms, reuse_published=not args.fresh, device=args.device)


def refuse_missing(device: str | None) -> None:
    """ConfigError if a GPU is asked for where there is none."""
    import torch

    from polarity_lib.config import ConfigError

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("this machine has no CUDA device that torch can use; leave DEVICE out, or say cpu.")


def command_base_policy(args) -> None:
    """Make a base policy unless it is cached."""
    import torch

    from polarity_lib.config import StartConfig, choose
    from polarity_lib.experiments import device_of
    from polarity_lib.policy import SIZES
    from polarity_lib.pretraining import CORPORA, base_policy, read_mixture

    choose("corpus", args.corpus, CORPORA)
    choose("policy size", args.size, SIZES)
    device = device_of(args.size, args.device) or ("cuda" if torch.cuda.is_available() else "cpu")
    start = StartConfig(args.corpus, args.size, args.steps, args.seed, batch=args.batch, mixture=read_mixture(args.mixture))
    base_policy(start, device)


def command_tune(args) -> None:
    """Choose learning rates."""
    from polarity_lib.study.tuning import tune

    for method in args.methods.split(","):
        print(f"{args.world} {method}: {tune(args.world, method.strip(), args.scale):g}")


def command_notebook(args) -> None:
    """Run one notebook through papermill."""
    from polarity_lib.study.execution import check_parameters, execute, find_notebook

    path = find_notebook(args.name)
    parameters = check_parameters(path, dict(args.parameter))
    output = args.output or runs_root() / "notebooks" / path.name
    execute(path, output, parameters)
    print(output)


def command_study(args) -> int:
    """Bring about the study, or print its plan."""
    from polarity_lib.study.plan import Settings, plan_text
    from polarity_lib.study.running import run_study, write_report

    reuse = None if args.reuse is None else bool(args.reuse)
    settings = Settings(scale_of(args), args.seeds, args.only, args.full, reuse, args.device)
    if args.command == "stack":
        return compute_jobs(args.jobs, settings)
    if args.command == "report":
        return write_report(settings, runs_root() / "study" / f"report-{settings.label}.html")
    if args.command == "plan" and not args.dry_run:
        print(plan_text(settings, args.cores))
        return 0
    if not args.dry_run:
        refuse_missing(args.device)
    return run_study(settings, args.cores, args.dry_run, args.profile)


def compute_jobs(names: list[str], settings) -> int:
    """Compute a study's jobs side by side; a run that fits in no stack follows alone."""
    from polarity_lib.config import choose
    from polarity_lib.experiments import train_or_load
    from polarity_lib.study.plan import study_jobs

    refuse_missing(settings.device)
    jobs = {job.name: job for job in study_jobs(settings)}
    arms = [arm for name in names for arm in jobs[choose("job", name, jobs)].runs]
    train_or_load(arms, settings.reuses, device=settings.device)
    return 0


def command_own(args) -> None:
    """What methods would do with a log."""
    from polarity_lib.study.own import report

    print(report(args.table, args.columns, args.methods, args.right_above, args.model, args.recheck, args.step))


def command_export(args) -> None:
    """A checkpoint to take elsewhere."""
    from polarity_lib.exporting import export

    print(export(args.run, args.folder))


def command_compare(args) -> int:
    """A method beside others."""
    from polarity_lib.study.compare import asked_for, compare_methods

    asked = asked_for(args.method, args.against, args.worlds, args.seeds, args.scale)
    files = (args.method, *args.against.split(","))
    return compare_methods(asked, args.cores, args.dry_run, files)


def command_publish(args) -> None:
    """Collect the committed study."""
    from polarity_lib.study.publishing import publish

    publish()


def command_pages(args) -> int:
    """Write the pages that are made from tables, or only say which are out of date."""
    from polarity_lib.study.pages import out_of_date, write_pages

    found = out_of_date() if args.check else write_pages()
    for path in found:
        print(f"{path.relative_to(ROOT)} {'is out of date: python -m polarity_lib pages' if args.check else 'was written'}")
    return int(args.check and bool(found))


def command_clean(args) -> int:
    """Delete what runs left in the runs folder, after asking."""
    from polarity_lib.study.cleaning import delete, left_by_runs

    found = left_by_runs()
    if not found.paths:
        print(f"{found.root}: nothing to delete")
        return 0
    if not args.yes:
        print(f"Delete {found.told()}? Type yes: ", end="", flush=True)
        if sys.stdin.readline().strip() != "yes":
            print("kept")
            return 0
    delete(found)
    print(f"deleted {found.told()}")
    return 0


COMMANDS = {"run": command_run, "tune": command_tune, "base-policy": command_base_policy, "notebook": command_notebook,
            "study": command_study, "plan": command_study, "report": command_study, "stack": command_study,
            "own": command_own, "compare": command_compare, "export": command_export, "publish": command_publish,
            "pages": command_pages, "clean-runs": command_clean}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; a mistake in its arguments is one line and status 2, before any computing."""
    args = build_parser().parse_args(arguments)
    for variable in ("POLARITY_RUNS", "POLARITY_SITE", "POLARITY_PAPERS", "POLARITY_TEST_DATA", "POLARITY_TENSORBOARD"):
        if os.environ.get(variable, "").strip():  # relative to where the person stands, for every process that we start
            os.environ[variable] = os.path.abspath(os.path.expanduser(os.environ[variable].strip()))
    return end_in_one_line(COMMANDS[args.command], args)


if __name__ == "__main__":
    sys.exit(main())
