"""The experiments of BCPG-NSA: notebooks 50 to 52.

Offline runs of a seed share one data set, so all arms see identical answers; an experiment says where passes differ.
Rates and tau come from data/offline.json, which `gates.py` writes from the tuning runs; until it does, from `FIRST_TRY`.

    order of the runs: bcpg_rates, then `gates.py`; bcpg_taus, then `gates.py`; bcpg_gates, then `gates.py`; all others
"""

import functools
import json

from polarity_lib.config import OfflineConfig, RunConfig, Scale, StartConfig
from polarity_lib.experiments import configure, in_world, late, swept, unless_smoke, world_rate
from polarity_lib.problems import world_named
from polarity_lib.results import ROOT

OFFLINE_FILE = ROOT / "data" / "offline.json"
WORLD = "gems"
FIRST = 1000  # validation seeds: no reported comparison uses them
PROBLEMS, ANSWERS = 600, 16
RATES = (6.25e-6, 1.25e-5, 2.5e-5, 5e-5, 1e-4, 2e-4)  # first from 2.5e-5 on: the best of three methods stood at that edge
LOWER = {"topr": (3.125e-6,)}  # one method was best at the next edge too
TAUS = (1e-3, 1e-2, 0.1, 0.3, 1.0)
TUNED = ("rft", "dpo", "topr", "grpo_offline", "bcpg", "bcpg_nsa")  # each at its own rate; bcpg_nsa by the oracle's labels
FIRST_TRY = {"rate": 1e-4, "tau": 0.1}
BASELINES = ("dpo", "topr", "grpo_offline")
BETAS = (1.0, 0.75, 0.5, 0.25, 0.0, -0.25, -0.5, -1.0)
SHARES = (0.25, 0.5, 1.0)
ROUNDS = 3


@functools.cache
def offline_record() -> dict:
    """data/offline.json: grids, what they chose, and the gates; empty until written."""
    return json.loads(OFFLINE_FILE.read_text(encoding="utf-8")) if OFFLINE_FILE.exists() else {}


def rate_of(method: str) -> float:
    """A method's rate on stored answers. Methods that were not tuned take that of the one they change."""
    chosen = offline_record().get("rates", {})
    of = {"imitate": "rft", "reinforce_offline": "bcpg"}.get(method, method)
    return float(chosen.get(of, {}).get("rate", FIRST_TRY["rate"]))


def tau_of(method: str = "bcpg") -> float:
    """The constraint that BCPG and BCPG-NSA share, chosen for BCPG."""
    return float(offline_record().get("taus", {}).get(method, {}).get("tau", FIRST_TRY["tau"]))


def stored(scale: Scale, method: str, seed: int, offline: dict | None = None, world: str = WORLD, **fields) -> RunConfig:
    """A run on the stored answers of its own start; `offline`: fields of the data set that differ."""
    place = world_named(WORLD)
    sizes = unless_smoke(scale, **place.protocol) | {"minibatches": 1}
    answers = place.protocol["rollouts_per_prompt"] if sizes.get("rollouts_per_prompt") else scale.run["rollouts_per_prompt"]
    problems = PROBLEMS if sizes.get("pool_size") else scale.run["pool_size"]
    # At the tests' scale a policy that babbles is hardly ever right: keep what it wrote.
    small = {} if sizes.get("pool_size") else {"uniform": True}
    data = OfflineConfig(**({"problems": problems, "answers": answers} | small | (offline or {})))
    fields = unless_smoke(scale, start_steps=world_named(world).start_steps) | sizes | fields
    fields = {"learning_rate": rate_of(method)} | fields
    return configure(scale, method, seed, world=world, offline=data, **fields)


def nsa(scale: Scale, seed: int, **options) -> RunConfig:
    """BCPG-NSA with some options; not named: the paper's beta, the oracle's labels, the tuned tau."""
    named = ("offline", "learning_rate", "steps", "probes", "curve_every")
    fields = {name: options.pop(name) for name in named if name in options}
    return stored(scale, "bcpg_nsa", seed, options={"tau": tau_of()} | options, **fields)


def bcpg(scale: Scale, seed: int, **fields) -> RunConfig:
    """BCPG at its own rate and tau."""
    options = {"tau": tau_of()} | fields.pop("options", {})
    return stored(scale, "bcpg", seed, options=options, **fields)


# ---------------------------------------------------------------- before all others: rates, tau, gates


def _short(scale: Scale) -> dict:
    """Half the horizon, more held-out problems, hardly any final evaluation."""
    steps = world_named(WORLD).protocol["steps"] // 2
    return unless_smoke(scale, steps=steps, curve_every=steps // 2, curve_problems=300, final_problems=20, final_samples=4)


def bcpg_rates(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Every offline method over rates, on validation seeds; BCPG's tau is `FIRST_TRY`'s here."""
    fixed = {"bcpg": {"tau": FIRST_TRY["tau"]}, "bcpg_nsa": {"tau": FIRST_TRY["tau"]}}
    return {f"{m}/{rate:g}": stored(scale, m, FIRST + seed, learning_rate=rate, options=fixed.get(m, {}), **_short(scale))
            for m in TUNED for rate in swept(scale, RATES + LOWER.get(m, ()))}


def bcpg_taus(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """BCPG over tau at its rate, on validation seeds."""
    return {f"bcpg/{tau:g}": stored(scale, "bcpg", FIRST + seed, options={"tau": tau}, **_short(scale)) for tau in TAUS}


def bcpg_gates(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """What the world must show first: RFT or BCPG moves it, and right steps are not any tokens. Validation seeds.

    Tokens are told apart where their choice weighs most, rewarded (beta = -1). At the paper's 0.5, where they are only punished
    less, whether it matters is what C5 and C7 ask; those two arms are for information.
    """
    seed = FIRST + seed
    return {"base": stored(scale, "base", seed, steps=0), "rft": stored(scale, "rft", seed), "bcpg": bcpg(scale, seed),
            "bcpg_nsa": nsa(scale, seed), "bcpg_nsa anywhere": nsa(scale, seed, select="anywhere"),
            "bcpg_nsa rewarded": nsa(scale, seed, beta=-1.0),
            "bcpg_nsa rewarded anywhere": nsa(scale, seed, beta=-1.0, select="anywhere")}


# ---------------------------------------------------------------- notebook 50


def teacher(scale: Scale, seed: int) -> StartConfig:
    """Who writes the traces of BCPG-C1: trained as the base of `gems`, but always showing its work."""
    steps = scale.start_steps if scale.policy == "smoke" else world_named(WORLD).start_steps
    return StartConfig("gems_large", scale.policy, steps, seed, mixture=(("worked", 0.6), ("checked", 0.4)))


IMITATED = {"right traces": {"side": "right"}, "wrong traces": {"side": "wrong"},
            "wrong traces (mostly right)": {"side": "wrong", "work": "mostly right", "alike": "none"},
            "wrong traces (nothing right)": {"side": "wrong", "work": "nothing right", "alike": "none"}}


def bcpg_imitation(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 50: a policy that mostly answers at once learns from a teacher's right, and from its wrong, traces (C1).

    As many traces of each question from either side; the two kinds of wrong ones take what there is, each question once.
    """
    fields = {"world": "latent", "offline": {"writer": teacher(scale, seed)}}
    arms = {"base": stored(scale, "base", seed, steps=0, **fields)}
    return arms | {name: stored(scale, "imitate", seed, options={"alike": "counts"} | options, **fields)
                   for name, options in IMITATED.items()}


# ---------------------------------------------------------------- notebook 51


def bcpg_offline(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 51: every offline method on identical answers (C2 to C5)."""
    probes = ("drift",)
    arms = {"base": stored(scale, "base", seed, steps=0), "rft": stored(scale, "rft", seed, probes=probes)}
    arms |= {m: stored(scale, m, seed, probes=probes) for m in BASELINES}
    arms["bcpg"] = bcpg(scale, seed, probes=probes)
    arms["bcpg_nsa"] = nsa(scale, seed, probes=probes)
    arms["bcpg_nsa and"] = nsa(scale, seed, judge="and", probes=probes)
    return arms


JUDGED = {"prm": {"judge": "prm"}, "llm": {"judge": "llm"}, "or": {"judge": "or"}, "anywhere": {"select": "anywhere"},
          "uniform": {"select": "uniform"}, "answer": {"select": "answer"}}


def bcpg_judges(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 51: judges alone and together, and the controls as heavy as the oracle's labels (C7, OURS-B1)."""
    main = bcpg_offline(scale, seed)
    arms = {name: main[name] for name in ("bcpg", "bcpg_nsa", "bcpg_nsa and")}
    return arms | {f"bcpg_nsa {name}": nsa(scale, seed, **options) for name, options in JUDGED.items()}


VARIANTS = {"random": {"select": "random"}, "bad": {"select": "bad"}, "prefix": {"select": "prefix"},
            "recentred": {"recentre": True}, "product": {"judge": "product"}}


def bcpg_variants(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 51: other tokens, other penalties, NSA's weights in other losses (OURS-B2)."""
    main = bcpg_offline(scale, seed)
    arms = {name: main[name] for name in ("bcpg", "bcpg_nsa", "topr", "grpo_offline")}
    arms |= {f"bcpg_nsa {name}": nsa(scale, seed, **options) for name, options in VARIANTS.items()}
    arms |= {f"bcpg {name}": bcpg(scale, seed, options=options) for name, options in (
        ("centred", {"penalty": "centred"}), ("per token", {"penalty": "per_token"}), ("no length", {"length": False}))}
    return arms | {f"{m} mined": stored(scale, m, seed, options={"mined": True}) for m in ("topr", "grpo_offline")}


def bcpg_beta(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 51: the mining coefficient (C6). At 1 it is BCPG, at BCPG-NSA's own rate."""
    main = bcpg_offline(scale, seed)
    return {f"beta={b:g}": main["bcpg_nsa"] if b == 0.5 else nsa(scale, seed, beta=b) for b in BETAS}


def bcpg_tau(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 51: the constraint, with and without NSA, at one rate each."""
    arms = {f"tau={tau:g}": stored(scale, "bcpg", seed, options={"tau": tau}, probes=("drift",)) for tau in TAUS}
    few = (TAUS[0], TAUS[2], TAUS[-1])
    return arms | {f"nsa tau={tau:g}": nsa(scale, seed, tau=tau, probes=("drift",)) for tau in few}


RATE_FACTORS = (0.5, 2.0)


def bcpg_rate_curve(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 51: the headline contrast at one rate, and at half and twice each one's own (C5 read again)."""
    one = {"rft": rate_of("bcpg"), "bcpg_nsa": rate_of("bcpg")}
    main = bcpg_offline(scale, seed)
    arms = {name: main[name] for name in ("rft", "bcpg", "bcpg_nsa")}
    arms |= {"one rate/rft": stored(scale, "rft", seed, learning_rate=one["rft"]), "one rate/bcpg": main["bcpg"],
             "one rate/bcpg_nsa": nsa(scale, seed, learning_rate=one["bcpg_nsa"])}
    for factor in RATE_FACTORS:
        arms |= {f"x{factor:g}/bcpg": bcpg(scale, seed, learning_rate=factor * rate_of("bcpg")),
                 f"x{factor:g}/bcpg_nsa": nsa(scale, seed, learning_rate=factor * rate_of("bcpg_nsa"))}
    return arms


NOISE = (0.0, 0.1, 0.2, 0.4, 0.8)  # false alarms at a recall of 0.8; at 0.8 the labels know nothing
PAIRED = (0.2, 0.4)
RECALL = 0.8


def bcpg_noise(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 51: labels of falling precision at one recall, and two such judges that must agree."""
    main = bcpg_offline(scale, seed)
    arms = {"bcpg": main["bcpg"], "bcpg_nsa": main["bcpg_nsa"]}
    noisy = {"judge": "noisy", "recall": RECALL}
    arms |= {f"noise={f:g}": nsa(scale, seed, **noisy, false_alarm=f) for f in NOISE}
    return arms | {f"pair={f:g}": nsa(scale, seed, **noisy, false_alarm=f, pair=True) for f in PAIRED}


def bcpg_fraction(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 51: a quarter, a half and all of the problems, as many passes over each (C8)."""
    main, arms = bcpg_offline(scale, seed), {}
    make = {"rft": lambda **f: stored(scale, "rft", seed, **f), "bcpg": lambda **f: bcpg(scale, seed, **f),
            "bcpg_nsa": lambda **f: nsa(scale, seed, **f)}
    for name, build in make.items():
        for share in SHARES:
            steps = unless_smoke(scale, steps=round(share * main[name].steps))
            arms[f"{name}/{share:g}"] = main[name] if share == 1 else build(offline={"share": share}, **steps)
    return arms


def bcpg_rounds(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 51: three rounds, each on answers of the policy as it then is, which is also what rho compares with (C9)."""
    length = 60 if scale.policy != "smoke" else scale.run["steps"]
    fields = {"offline": {"rounds": ROUNDS}, "steps": ROUNDS * length} | unless_smoke(scale, curve_every=length // 3)
    return {"bcpg": bcpg(scale, seed, **fields), "bcpg_nsa": nsa(scale, seed, **fields)}


def bcpg_long(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 51: twice as many passes, with and without what holds the policy (C10)."""
    main = bcpg_offline(scale, seed)
    long = {"steps": 2 * main["bcpg"].steps, "probes": ("drift",)} | unless_smoke(scale, curve_every=32)
    return {"base": main["base"], "bcpg": bcpg(scale, seed, **long),
            "bcpg tau=0": bcpg(scale, seed, options={"tau": 0.0}, **long),
            "topr": stored(scale, "topr", seed, **long), "reinforce_offline": stored(scale, "reinforce_offline", seed, **long)}


NEGATIVE_KINDS = ("plausible", "near", "garbled")


def bcpg_negatives(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 51: the same right answers against own, plausible, nearest and garbled wrong ones, as many of each (OURS-B3)."""
    main = bcpg_offline(scale, seed)
    arms = {"base": main["base"], "bcpg own": main["bcpg"], "dpo own": main["dpo"]}
    for kind in NEGATIVE_KINDS:
        arms[f"bcpg {kind}"] = bcpg(scale, seed, options={"negatives": kind})
        arms[f"dpo {kind}"] = stored(scale, "dpo", seed, options={"negatives": kind})
    return arms


# ---------------------------------------------------------------- notebook 52


CREDIT: dict[str, tuple[str, dict]] = {
    "grpo": ("grpo", {}), "first_error": ("first_error", {}), "from_first_error": ("from_first_error", {}),
    "prefix_only": ("prefix_only", {}), "oracle sparing": ("sparing", {}), "random sparing": ("sparing", {"select": "random"}),
    "step_values": ("step_values", {}), "nthr": ("nthr", {}), "nthr graded": ("nthr", {"graded": True}),
}


def bcpg_credit(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 52: online in `latent`, GRPO with other blame for wrong answers, at GRPO's rate; half of the world's horizon,
    in which nearly all of its gain falls."""
    rate = world_rate("latent", "grpo")
    short = unless_smoke(scale, steps=world_named("latent").protocol["steps"] // 2, curve_every=10, final_samples=32)
    base = in_world(scale, "base", seed, "latent", **short | {"steps": 0}, probes=("blame",))
    return {"base": base} | {
        name: in_world(scale, method, seed, "latent", options=options, learning_rate=rate, probes=("blame",), **short)
        for name, (method, options) in CREDIT.items()}


EXPERIMENTS = {
    "bcpg_rates": late(bcpg_rates, 2, "51"),
    "bcpg_taus": late(bcpg_taus, 2, "51"),
    "bcpg_gates": late(bcpg_gates, 4, "51"),
    "bcpg_imitation": late(bcpg_imitation, 3, "50"),
    "bcpg_offline": late(bcpg_offline, 8, "51"),
    "bcpg_judges": late(bcpg_judges, 8, "51"),
    "bcpg_variants": late(bcpg_variants, 3, "51"),
    "bcpg_beta": late(bcpg_beta, 3, "51"),
    "bcpg_tau": late(bcpg_tau, 3, "51"),
    "bcpg_rate_curve": late(bcpg_rate_curve, 3, "51"),
    "bcpg_noise": late(bcpg_noise, 3, "51"),
    "bcpg_fraction": late(bcpg_fraction, 3, "51"),
    "bcpg_rounds": late(bcpg_rounds, 3, "51"),
    "bcpg_long": late(bcpg_long, 3, "51"),
    "bcpg_negatives": late(bcpg_negatives, 3, "51"),
    "bcpg_credit": late(bcpg_credit, 3, "52"),
}
