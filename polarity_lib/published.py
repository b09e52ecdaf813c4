"""What a paper itself ran: its hyperparameters, how sure we are of each, as runs of ours, and what they would take.

Each paper's folder holds its own in `paper_scale.PUBLISHED`, taken from our reading cards. A value that we could not find
is None with a note of what is missing; a run then takes `ours`, and the plan says so. What our loop has not (a KL term, a
warm-up) is kept all the same: whoever takes a method to TRL or verl sets it there.

    python -m polarity_lib run lens_published --scale paper:meta-llama/Llama-3.1-8B-Instruct
"""

import dataclasses
from dataclasses import dataclass, field

from polarity_lib.config import ConfigError, ModelConfig, OfflineConfig, RunConfig, Scale, StartConfig
from polarity_lib.problems import any_world
from polarity_lib.problems.real import SETS
from polarity_lib.problems.sets import manifest

INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
UNVERIFIED = "unverified"
FLOPS = 989e12 * 0.35  # bf16 peak of an H200 times an assumed utilisation
BYTES_TRAINED = 18  # per parameter: bf16 weights; single-precision weights, gradient, two moments
RUN_FIELDS = {f.name for f in dataclasses.fields(RunConfig)} - {"method", "world", "start", "seed", "options", "offline"}


@dataclass(frozen=True)
class Setting:
    """One hyperparameter.

    Attributes:
        value: None where we could not find it.
        mark: where it was read: paper, notes on the paper, readme, code (the authors'); or unverified.
        note: what else there is to know.
    """

    value: object
    mark: str = "paper"
    note: str = ""

    def __post_init__(self):
        if self.value is None and not self.note:
            raise ValueError("a value that is not known needs a note")


@dataclass(frozen=True)
class PaperModel:
    """A model the paper trains.

    Attributes:
        answer_tokens, tokens_per_second: assumed by us: mean length of an answer, rate of one H200 in full batches.
        settings: where this model's differ.
    """

    name: str  # on the hub
    licence: str
    parameters: float
    answer_tokens: int
    tokens_per_second: float
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """One comparison as a paper ran it.

    Attributes:
        arms: {method of ours: its options}; an arm named differently holds its method under "method".
        settings: by the name of the field of RunConfig or ModelConfig where there is one, else by the field's usual name.
        ours: what runs take where a value is None.
        world: of `problems.real`: the paper's data, as near as it can be had.
        data: what the paper trained on, with its licence.
        differs: what a run of ours cannot do or does otherwise.
        hardware: what the paper says it took.
    """

    name: str
    models: tuple[PaperModel, ...]
    arms: dict
    settings: dict[str, Setting]
    world: str
    data: str
    ours: dict = field(default_factory=dict)
    differs: str = ""
    hardware: str = ""
    offline: OfflineConfig | None = None

    def value(self, name: str, model: PaperModel | None = None):
        """A setting's value for a model, or what we put in its place."""
        known = self.settings | (model.settings if model else {})
        return self.ours.get(name) if name not in known or known[name].value is None else known[name].value

    def model_named(self, name: str) -> PaperModel | None:
        """The paper's own model of that hub id; None for another."""
        last = name.rstrip("/").rpartition("/")[2]
        return next((model for model in self.models if model.name.rpartition("/")[2] == last), None)

    def configs(self, scale: Scale, seed: int) -> dict[str, RunConfig]:
        """The paper's runs, base first, with a scale's model, at the paper's own sizes.

        Raises:
            ConfigError: our loop has no run of it.
        """
        if not self.arms:
            raise ConfigError(f"{self.name}: {self.differs}")
        model = self.model_named(scale.model)
        served = {"dtype": "float32", "checkpointing": True, "chat": True, "instruction": INSTRUCTION, "rows": 256,
                  "tokens_per_pass": 16384, "answer_tokens": self.value("answer_tokens", model)}
        start = StartConfig("", "", 0, seed, model=ModelConfig(scale.model, **(served | scale.changes_of(ModelConfig))))
        known = {name for name in self.settings | self.ours if name in RUN_FIELDS}
        fields = {"pool_size": 0, "final_problems": any_test(self.world), "world": self.world, "offline": self.offline}
        fields |= {name: value for name in known if (value := self.value(name, model)) is not None} | scale.changes_of(RunConfig)
        arms = {}
        for arm, options in self.arms.items():
            options = dict(options)
            arms[arm] = RunConfig(method=options.pop("method", arm), start=start, seed=seed,
                                  options=tuple(sorted(options.items())), **fields)
        return {"base": next(iter(arms.values())).but(method="base", options=(), steps=0, offline=None), **arms}

    # ------------------------------------------------------------ what it takes

    def gpu_hours(self, model: PaperModel) -> float:
        """Of one run, by the formula that `plan_lines` prints."""
        answers = self.value("steps", model) * self.value("prompts_per_step", model) * self.value("rollouts_per_prompt", model)
        drawn = self.offline.problems * self.offline.answers if self.offline else answers
        sampled = drawn + any_test(self.world) * self.value("final_samples", model)
        return model.answer_tokens * (sampled / model.tokens_per_second + answers * 8 * model.parameters / FLOPS) / 3600

    def unknown(self) -> dict[str, str]:
        """What could not be found, and what we put there."""
        return {name: s.note + (f"; ours: {self.ours[name]:g}" if isinstance(self.ours.get(name), (int, float)) else "")
                for name, s in self.settings.items() if s.value is None}

    def plan_lines(self) -> list[str]:
        """Runs, GPU hours, memory, disk and licences, then data and what is not known."""
        runs = max(1, len(self.arms))
        lines = [f"{self.name}: {', '.join(self.arms) or 'no run in our loop'}",
                 f"  {'model':<44}{'licence':<30}{'runs':>5}{'GPU hours':>11}{'memory, GB':>12}{'disk, GB':>10}"]
        for model in self.models:
            lines.append(f"  {model.name:<44}{model.licence:<30}{len(self.arms):>5}{runs * self.gpu_hours(model):>11,.0f}"
                         f"{BYTES_TRAINED * model.parameters / 1e9:>12.0f}{(runs + 1) * 2 * model.parameters / 1e9:>10.0f}")
        lines.append(f"  Data: {self.data}.")
        lines += [f"  The paper's own: {self.hardware}."] if self.hardware else []
        lines += [f"  Not found, {name}: {told}." for name, told in self.unknown().items()]
        lines += [f"  In our loop: {self.differs}."] if self.differs else []
        lines.append("  Assumed: " + "; ".join(
            f"{m.name.rpartition('/')[2]}: {m.answer_tokens} tokens per answer, {m.tokens_per_second:.0f} sampled a second"
            for m in self.models) + ".")
        return lines


EXPLAINED = (
    "One seed of every arm. The GPU hours are OUR ESTIMATE, not the papers'. Per run:\n"
    "  hours = tokens per answer * [(answers + test problems * samples) / rate + answers * 8 * parameters / flops] / 3600\n"
    f"  flops {FLOPS:.2g}/s: an H200 at 35 % of its peak, assumed; 8 = forward and backward (6) and one more forward (2).\n"
    "Memory: all weights trained, 18 bytes per parameter, without activations and cache; it may be spread over GPUs.\n"
    "Disk: bf16 weights of the base and of every run's last checkpoint. Licences as their owners state them; look before use.\n"
    "With a small model on one GPU: make study SCALE=paper ONLY=10 MODEL=<hub id or folder>. A paper's own sizes in our loop,\n"
    "on one large GPU: python -m polarity_lib run NAME --scale paper --model MODEL (NAME as printed above). Models beyond one\n"
    "GPU: our methods in TRL or verl, by name (docs/trainers.md)."
)


def any_test(world: str) -> int:
    """How many test problems a world of real mathematics has, by its manifest; nothing is read."""
    return sum(manifest()[name]["rows"] or 0 for name in SETS[any_world(world).name][1])
