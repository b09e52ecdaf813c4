"""One frozen record that says everything about a run, and its content hash.

Two runs with equal records are the same run: they share a folder, and
whoever needs them second loads what the first computed. Fields at their
default value are left out of the hash, so a field added later with a default
changes no existing name.

The record and its hash stay our own: every committed run is named by them, so another library's would rename all.

Seed s names a whole replicate: base policy s, problem order s, sampling
stream s. Arms with the same seed are therefore paired.
"""

import dataclasses
import functools
import difflib
import hashlib
import json
import math
import re
from dataclasses import dataclass, field

from polarity_lib.outside import Told

# Raise this when the meaning of a record changes although its fields do not.
FORMAT = 1


# What trains the policy instead of the truth: rewards.control_verdicts says what each does.
VERDICT_CONTROLS = ("true", "tossed", "quarter_tossed", "flipped", "leaky")
# What a base policy may be made of. What each name means stands in pretraining.CORPORA, policy.SIZES and chain.write_trace,
# storeys above this one; a test holds the names together.
CORPORA = ("countdown", "chain_cold", "chain_zero", "chain_latent", "latent", "rare_long", "gems_large", "mix", "remarks",
           "remarks_learned", "strong")
SIZES = ("smoke", "tiny", "middle", "small")
SOURCES = ("worked", "checked", "direct", "noisy", "unmarked")


class ConfigError(ValueError, Told):
    """A parameter that cannot be right; raised before any computing."""

    status = 2


def choose(kind: str, name: str, valid) -> str:
    """Return `name` if it is one of `valid`, else raise with the near misses.

    Raises:
        ConfigError: naming the closest valid names, then all of them.
    """
    valid = list(valid)
    if name in valid:
        return name
    near = difflib.get_close_matches(str(name), valid, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ConfigError(f"Unknown {kind} {name!r}.{hint} Valid: {', '.join(sorted(valid))}.")


def content_hash(record) -> str:
    """Ten hexadecimal digits that name a record's content."""
    text = json.dumps({"format": FORMAT, **record}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def derive_seed(*parts) -> int:
    """A 63-bit seed from any labels: derive_seed(3, "rollouts", 17).

    Every use of randomness has its own labels, so no generator state needs
    saving: an interrupted run draws the same numbers when it continues.
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def is_number(value) -> bool:
    """A finite number; True and False are none, although Python counts with them."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def whole(name: str, value, least: int = 0) -> None:
    """Refuse what is no whole number from `least` on.

    Raises:
        ConfigError: saying so.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} must be a whole number from {least} on, not {value!r}.")


def within(name: str, value, interval: str) -> None:
    """Refuse what is no finite number in an interval, which is written as usual: "[0, 1]", "(0, 1]", "[0, inf)".

    Raises:
        ConfigError: with the interval in words.
    """
    low, high = map(float, interval[1:-1].split(","))
    above = is_number(value) and (value >= low if interval[0] == "[" else value > low)
    if not above or not (value <= high if interval[-1] == "]" else value < high):
        raise ConfigError(f"{name} must be {in_words(interval)}, not {value!r}.")


def in_words(interval: str) -> str:
    """An interval to be read: between 0 and 1, above 0 and at most 1, finite and at least 0."""
    low, high = interval[1:-1].split(", ")
    if interval[0] + interval[-1] == "[]":
        return f"between {low} and {high}"
    begin = f"{'at least' if interval[0] == '[' else 'above'} {low}"
    return f"finite and {begin}" if high == "inf" else f"{begin} and {'at most' if interval[-1] == ']' else 'below'} {high}"


def like(name: str, value, default) -> None:
    """Refuse what is of another kind than a default: true or false, a whole number, a number or text; any other says nothing.

    Raises:
        ConfigError: with the kind.
    """
    fits, kind = {
        bool: (isinstance(value, bool), "True or False"), str: (isinstance(value, str), "text"),
        int: (isinstance(value, int) and is_number(value), "a whole number"), float: (is_number(value), "a finite number"),
    }.get(type(default), (True, ""))
    if not fits:
        raise ConfigError(f"{name} must be {kind}, not {value!r}.")


def _set_fields(record) -> dict:
    """Fields that differ from their default, nested records included."""
    changed = {}
    for f in dataclasses.fields(record):
        value = getattr(record, f.name)
        default = f.default if f.default is not dataclasses.MISSING else None
        if dataclasses.is_dataclass(value):
            changed[f.name] = _set_fields(value)
        elif value != default or f.default is dataclasses.MISSING:
            changed[f.name] = value
    return changed


@dataclass(frozen=True)
class ModelConfig:
    """A language model that is read instead of made here, and how it is served. The defaults are those of policies made here."""

    name: str = ""  # hub id or folder
    adapter: str = ""  # folder of a LoRA adapter to go on with
    lora_rank: int = 0  # of a fresh adapter, which alone is trained; 0: all weights are
    lora_modules: str = "all-linear"  # which layers get it: names joined by +, as q_proj+v_proj; all but the head
    dtype: str = "float32"  # of the weights; an adapter's own stay in single precision
    checkpointing: bool = False  # layers are computed again for the gradient instead of being kept
    chat: bool = False  # prompts go through the tokenizer's chat template
    instruction: str = ""  # stands behind every question
    answer_tokens: int = 0  # the longest answer; 0: as the world says
    rows: int = 1024  # answers that are sampled at once
    tokens_per_pass: int = 0  # response tokens that go through the policy at once; 0: as updates.TOKENS_PER_PASS says
    engine: str = "torch"  # what samples: torch or vllm

    def __post_init__(self):
        choose("dtype", self.dtype, ("float32", "bfloat16", "float16"))
        choose("engine", self.engine, ENGINES)
        if self.adapter and self.lora_rank:
            raise ConfigError("adapter goes on with one that exists, lora_rank begins a fresh one: give one of the two.")
        if self.dtype != "float32" and not (self.adapter or self.lora_rank):
            raise ConfigError(f"All weights in {self.dtype} would lose updates as small as these to rounding. Train an adapter "
                              "(lora_rank=16), or all weights in float32.")
        for name, least in (("lora_rank", 0), ("answer_tokens", 0), ("rows", 1), ("tokens_per_pass", 0)):
            whole(name, getattr(self, name), least)

    def longest_in(self, world) -> int:
        """Tokens that an answer to a problem of this world may have."""
        return self.answer_tokens or world.max_new_tokens


ENGINES = ("torch", "vllm")


@dataclass(frozen=True)
class StartConfig:
    """A base policy: which text, which size, how long, which seed; or a `model` that is read, then the others are empty."""

    corpus: str
    size: str
    steps: int
    seed: int
    batch: int = 192  # texts per step
    rate: float = 3e-3  # peak learning rate, cosine to zero
    mixture: tuple = ()  # ((source, weight), ...) of the last phase, in place of the corpus's own: a dial
    model: ModelConfig | None = None

    def __post_init__(self):
        whole("seed", self.seed)
        if self.model:
            if (self.corpus, self.size, self.steps, self.mixture) != ("", "", 0, ()):
                raise ConfigError(f"a start that reads {self.model.name} has the corpus '', the size '', 0 steps and no mixture, "
                                  f"not {self.corpus!r}, {self.size!r}, {self.steps!r} and {self.mixture!r}.")
            return
        choose("corpus", self.corpus, CORPORA)
        choose("policy size", self.size, SIZES)
        whole("steps", self.steps, 1)
        whole("batch", self.batch, 1)
        within("rate", self.rate, "(0, inf)")
        for source, weight in _pairs("mixture", self.mixture, '(("worked", 0.75), ("checked", 0.25))'):
            if self.corpus == "countdown":
                raise ConfigError(f"corpus countdown has one source of texts, so its mixture must be (), not {self.mixture!r}.")
            choose("source of texts", source, SOURCES)
            within(f"the weight of {source}", weight, "[0, inf)")
        if self.mixture and not any(weight for _, weight in self.mixture):
            raise ConfigError(f"mixture needs a weight above zero, not {self.mixture!r}.")

    @property
    def identity(self) -> dict:
        return _set_fields(self)

    @property
    def name(self) -> str:
        if self.model:
            return f"{short_name(self.model.name)}-s{self.seed}-{content_hash(self.identity)}"
        return f"{self.corpus}-{self.size}-{self.steps}-s{self.seed}-{content_hash(self.identity)}"


def _pairs(name: str, value, example: str) -> tuple:
    """A field that must be pairs of a name and a value; a list or a dictionary cannot be part of a frozen record."""
    if not isinstance(value, tuple) or not all(isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in value):
        raise ConfigError(f"{name} must be a tuple of pairs such as {example}, not {value!r}.")
    return value


def short_name(model: str) -> str:
    """The last part of a hub id or folder, of letters that every file system takes."""
    return re.sub("[^a-zA-Z0-9.+_-]+", "_", model.rstrip("/").rpartition("/")[2]) or "model"


@dataclass(frozen=True)
class OfflineConfig:
    """A data set of answers that are drawn once and trained on many times: how many, and who wrote them."""

    problems: int  # of the training pool
    answers: int  # per problem, at the run's temperature
    uniform: bool = False  # keep problems whose answers are all right or all wrong
    share: float = 1.0  # of the problems that are left; the first so many, so a half holds its quarter
    rounds: int = 1  # the answers are drawn anew, from the policy as it then is, this many times in all
    writer: StartConfig | None = None  # another policy than the run's own start

    def __post_init__(self):
        for name in ("problems", "answers", "rounds"):
            whole(name, getattr(self, name), 1)
        within("share", self.share, "(0, 1]")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's numbers."""

    method: str  # a name that a paper offers
    world: str  # a name in polarity_lib.problems
    start: StartConfig
    seed: int
    steps: int
    learning_rate: float
    options: tuple = ()  # ((name, value), ...) passed to the method
    prompts_per_step: int = 32
    rollouts_per_prompt: int = 8
    minibatches: int = 1  # optimizer steps per batch
    pool_size: int = 256  # fixed training problems; 0 draws fresh ones
    optimizer: str = "adamw"  # or "sgd"
    grad_clip: float = 1.0  # 0 switches clipping off
    temperature: float = 1.0
    longest_answer: int = 0  # tokens, where the world allows more; 0: as the world says
    verdicts: str = "true"  # or a verifier that lies: see VERDICT_CONTROLS
    stream: int = 0  # another number: the same start and problems, other sampling and another order
    matched_to: str = ""  # run whose update sizes are copied, or ""
    curve_every: int = 20
    curve_problems: int = 100
    curve_samples: int = 16
    final_problems: int = 500
    final_samples: int = 64
    eval_temperature: float = 1.0
    eval_top_p: float = 1.0
    checkpoint_every: int = 20
    probes: tuple = ()  # names of probes, which papers offer: further measurements after training
    watches: tuple = ()  # names of watches, which papers offer: measurements of every batch, kept batch by batch
    offline: OfflineConfig | None = None  # answers come from a data set; None: they are drawn batch by batch

    def __post_init__(self):
        choose("optimizer", self.optimizer, ("adamw", "sgd"))
        choose("verdict control", self.verdicts, VERDICT_CONTROLS)
        for name in ("seed", "steps", "pool_size", "longest_answer", "stream"):
            whole(name, getattr(self, name))
        for name in ("prompts_per_step", "rollouts_per_prompt", "minibatches", "curve_every",
                     "checkpoint_every", "final_problems", "final_samples", "curve_problems", "curve_samples"):
            whole(name, getattr(self, name), 1)
        for name in ("learning_rate", "temperature", "eval_temperature"):
            within(name, getattr(self, name), "(0, inf)")
        within("eval_top_p", self.eval_top_p, "(0, 1]")
        within("grad_clip", self.grad_clip, "[0, inf)")  # 0 switches it off
        _pairs("options", self.options, '(("kl", 0.01),)')
        for name in ("probes", "watches"):  # of a bare name, every letter would be looked up
            value = getattr(self, name)
            if not isinstance(value, tuple) or not all(isinstance(each, str) for each in value):
                raise ConfigError(f"{name} must be a tuple of names such as {('cool',)!r}, not {value!r}.")
        if self.pool_size and self.pool_size < self.prompts_per_step:
            raise ConfigError(
                f"pool_size {self.pool_size} is smaller than prompts_per_step {self.prompts_per_step}."
            )
        if self.offline and self.steps % self.offline.rounds:
            raise ConfigError(f"{self.steps} steps do not split into {self.offline.rounds} equal rounds.")
        if self.offline and self.rollouts_per_prompt != self.offline.answers:
            raise ConfigError(f"rollouts_per_prompt is {self.rollouts_per_prompt}, but the data set holds "
                              f"{self.offline.answers} answers to a problem.")
        if self.prompts_per_step % self.minibatches:
            raise ConfigError(
                f"{self.prompts_per_step} prompts do not split into {self.minibatches} equal mini-batches."
            )

    @property
    def identity(self) -> dict:
        return _set_fields(self)

    @functools.cached_property
    def hash(self) -> str:
        return content_hash(self.identity)

    @property
    def name(self) -> str:
        return f"{self.world}-{self.method}-s{self.seed}-{self.hash}"

    def but(self, **changes) -> "RunConfig":
        """The same run with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class Scale:
    """Sizes shared by every run of one scale; what each costs is in the README."""

    policy: str
    start_steps: int
    run: dict = field(default_factory=dict)  # RunConfig fields
    start_batch: int = 192  # texts per step of the warm start
    model: str = ""  # at scale paper: hub id or folder
    changes: dict = field(default_factory=dict)  # at scale paper: fields of RunConfig and ModelConfig that the person set

    def changes_of(self, record) -> dict:
        """Those of the changes that are fields of a record's class."""
        names = {f.name for f in dataclasses.fields(record)}
        return {name: value for name, value in self.changes.items() if name in names}


SCALES = {
    "smoke": Scale("smoke", 30, dict(
        steps=4, prompts_per_step=4, rollouts_per_prompt=4, pool_size=16, curve_every=2,
        curve_problems=4, curve_samples=4, final_problems=8, final_samples=16, checkpoint_every=2,
        longest_answer=40),  # a policy of thirty steps seldom ends an answer
        start_batch=64),
    "tiny": Scale("tiny", 1000, dict(steps=200)),
    "small": Scale("small", 4000, dict(
        steps=300, prompts_per_step=64, rollouts_per_prompt=16, pool_size=1024,
        curve_problems=200, curve_samples=32)),
    # The paper's batch, group and schedule; the models are named in plan.py.
    "paper": Scale("paper", 0, dict(
        steps=140, prompts_per_step=1024, rollouts_per_prompt=8, minibatches=4, pool_size=7500,
        curve_every=7, checkpoint_every=7, final_samples=256)),
}


def scale_named(name: str) -> Scale:
    """Look a scale up: its name, or `paper:MODEL` with a hub id or folder behind it, then `,field=value` as often as wanted.

    Raises:
        ConfigError: unknown, with the valid names, or a model where none belongs.
    """
    name, _, model = name.partition(":")
    scale = SCALES[choose("scale", name, SCALES)]
    if model and name != PAPER:
        raise ConfigError(f"Scale {name} makes its own policies; a model of your own belongs to scale paper (MODEL=...).")
    model, changes = _changes_behind(model)
    return dataclasses.replace(scale, model=model, changes=changes) if model else scale


def _changes_behind(text: str) -> tuple[str, dict]:
    """`a/b,engine=vllm,steps=20` as the model's name and {field: value}; a folder's own name may hold a comma."""
    changes = {}
    while found := re.fullmatch(r"(.*),([a-z_]+)=([^,=]*)", text):
        text, name, value = found.groups()
        changes[name] = _value_of(choose("field", name, CHANGEABLE), value)
    return text, dict(sorted(changes.items()))


def _value_of(name: str, text: str):
    """A text as a field's value, of the type the field has."""
    wanted = CHANGEABLE[name]
    try:
        return {"True": True, "False": False}[text] if wanted is bool else wanted(text)
    except (KeyError, ValueError):
        raise ConfigError(f"{name} wants {wanted.__name__}, not {text!r}.") from None


# What may be changed behind a model's name. What makes another comparison may not: methods, seeds, starts.
FIXED = ("method", "seed", "stream", "matched_to", "verdicts", "name")
CHANGEABLE = {f.name: f.type for record in (RunConfig, ModelConfig) for f in dataclasses.fields(record)
              if f.type in (bool, int, float, str) and f.name not in FIXED}
GIGABYTE = 1e9
PAPER = "paper"  # the scale of language models


def at_paper_scale(scale: str) -> bool:
    """Whether a scale is the papers', with a model or without."""
    return scale.partition(":")[0] == PAPER


def in_file_names(scale: str) -> str:
    """A scale as files and folders are called: of a model, the last part of its name and a few digits."""
    name, _, given = scale.partition(":")
    return f"{name}-{short_name(scale_named(scale).model)}-{content_hash({'model': given})[:4]}" if given else name
