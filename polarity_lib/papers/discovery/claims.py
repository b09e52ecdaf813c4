"""What the papers say about exploration, diversity and dead groups, read on the clock (ours; notebook 60).

Each claim here is named after the claim it reads: OURS-LENS-C10 is LENS-C10 on the clock. The papers' own claims keep their rules
and their words; this is a second instrument, with verdicts of its own, and Holm is over the sub-tests of this folder.

The rules were committed before the runs they judge. The pilots were six methods in two replicates at another protocol
(data/pilots.csv, "the clock"): the uniform penalty first, LENS last. Nothing else had been looked at.

Every contrast is at each method's own rate, and again at GRPO's rate for all; that of a polarity by the other released formulas
too. The lead is in per cent of the horizon (`clock.lead`); above zero, the first arm is sooner.
"""

import functools

import numpy as np
from scipy import stats

from polarity_lib.claims import (
    RELATIVE_MARGIN, Claim, Finding, Subtest, is_equivalent, is_greater, is_less, is_not_worse,
)
from polarity_lib.experiments import Runs
from polarity_lib.papers.discovery.clock import FEWEST, before_found, compare_times, most_find_it, times
from polarity_lib.papers.discovery.experiments import LEVELS, TELLING, WORLD
from polarity_lib.papers.discovery.theory import forecast

LEAD = "lead, % of the horizon"
PLACE = f"{WORLD}, r = {TELLING:g}"
OWN, ONE, METHODS, DEFINITIONS, AT_LEVELS = (
    "discovery", "discovery_one_rate", "discovery_methods", "discovery_definitions", "discovery_levels")
FORMULAS = {"seq": "sequence mean", "tok": "token mean"}


def on_clock(rule, left: str, right: str, clock: str = "batches"):
    """A sub-test's `find`."""
    return functools.partial(compare_times, rule, left, right, clock=clock)


def read_twice(name: str, rule, left: str, right: str) -> tuple[Subtest, ...]:
    """A primary contrast at each method's own rate, and its reading at one rate."""
    find = on_clock(rule, left, right)
    return (Subtest(name, LEAD, "", find, OWN, PLACE, primary=True),
            Subtest(f"{name}, one rate", LEAD, "", find, ONE, PLACE, reading_of=name))


def by_formulas(name: str, rule, left: str, right: str, formulas=tuple(FORMULAS)) -> tuple[Subtest, ...]:
    """The same contrast by other released formulas, at one rate."""
    return tuple(Subtest(f"{name}, {FORMULAS[d]}", LEAD, "", on_clock(rule, *(
        arm if arm == "grpo" else f"{arm}_grpo_{d}" for arm in (left, right))), DEFINITIONS, PLACE, reading_of=name,
        choice="definition") for d in formulas)


def by_code_of_a3po(name: str, rule, left: str, right: str) -> tuple[Subtest, ...]:
    """A contrast of polarities as A3PO's code has them, at one rate, and by the other formulas."""
    names = [arm if arm == "grpo" else f"{arm}_grpo_seq" for arm in (left, right)]
    first = Subtest(name, LEAD, "", on_clock(rule, *names), DEFINITIONS, PLACE, primary=True)
    constant = Subtest(f"{name}, constant weights", LEAD, "", on_clock(rule, left, right), DEFINITIONS, PLACE,
                       reading_of=name, choice="definition")
    return first, constant, *by_formulas(name, rule, left, right, ("tok",))


def per_answer(name: str, rule, left: str, right: str) -> Subtest:
    """The same per answer drawn; only a method that throws answers away differs."""
    return Subtest(f"{name}, per answer drawn", "lead, % of the answers", "", on_clock(rule, left, right, "answers"), OWN, PLACE)


# --- rules of this folder -------------------------------------------------------------


def pushes_more(left: str, right: str, runs: Runs) -> Finding:
    """How far an update moves the rare way before it is found, for its size: left minus right, in per cent of right's mean."""
    found = before_found(runs).push.unstack()[[left, right]].dropna()
    return is_greater(100 * ((found[left] - found[right]) / abs(found[right].mean())).to_numpy(), RELATIVE_MARGIN)


def more_diverse(left: str, right: str, runs: Runs) -> Finding:
    """Worked answers per batch before the discovery, by the logarithm: left against right, in per cent."""
    found = before_found(runs).worked.clip(lower=0.1).unstack()[[left, right]].dropna()
    return is_greater(100 * np.log(found[left] / found[right]).to_numpy(), RELATIVE_MARGIN)


def as_forecast(runs: Runs) -> Finding:
    """Rank correlation over methods between the clearness of the signal by arithmetic and minus the time; x 100, per seed.

    The rare way's share and the accuracy of both ways are those measured on the bases, a mean over seeds.
    """
    measured = {name: runs.metric(f"before/{name}")["base"].mean() for name in ("worked", "right_if_worked", "right_if_direct")}
    clear = forecast(measured["worked"], measured["right_if_worked"], measured["right_if_direct"]).clear
    table = times(runs).batches.unstack().drop(columns="base", errors="ignore").dropna(axis=1)
    table = table[[arm for arm in table if arm in clear.index]]
    if table.shape[1] < FEWEST:
        raise KeyError("methods")
    found = [100 * stats.spearmanr(clear[list(table)], -row).statistic if np.ptp(row) else 0.0 for row in table.to_numpy()]
    return is_greater(np.array(found, dtype=float), RELATIVE_MARGIN)


def at_level(rule, r: float, left: str, right: str):
    """A contrast at a level of the dial."""
    return on_clock(rule, f"{r:g}/{left}", f"{r:g}/{right}")


OTHERS = tuple(r for r in LEVELS if r != TELLING)
EASIER = min(r for r in LEVELS if r > TELLING)
CURVES, REASON, MAP, DIAL = "60_discovery", "60_reason", "60_map", "60_dial"


def claim(name: str, says: str, figure: str, experiment: str, *tests: Subtest) -> Claim:
    """One of this folder's claims, named after the claim of a paper that it reads on the clock."""
    return Claim(f"OURS-{name}", says, experiment, "60", figure, tests, PLACE, "ours")


CLAIMS = (
    claim("PSRNSR-C2", "On the clock: wrong answers alone keep the tail of the base, here its rare way, and find it no later "
          "than GRPO.", CURVES, OWN,
          *read_twice("NSR no later than GRPO", is_not_worse, "nsr", "grpo"),
          *by_formulas("NSR no later than GRPO", is_not_worse, "nsr", "grpo"),
          *(Subtest(f"NSR no later than GRPO, r = {r:g}", LEAD, "", at_level(is_not_worse, r, "nsr", "grpo"), AT_LEVELS, WORLD)
            for r in OTHERS)),
    claim("PSRNSR-C8", "On the clock, as with entropy: NSR before GRPO before PSR.", CURVES, OWN,
          *read_twice("NSR sooner than GRPO", is_greater, "nsr", "grpo"),
          *read_twice("GRPO sooner than PSR", is_greater, "grpo", "psr"),
          *by_formulas("NSR sooner than GRPO", is_greater, "nsr", "grpo"),
          *by_formulas("GRPO sooner than PSR", is_greater, "grpo", "psr")),
    claim("PSRNSR-C11", "On the clock: NSR switches on the rare accurate way; PSR does not.", CURVES, OWN,
          Subtest("most seeds find it under NSR", "found, % - 50", "", functools.partial(most_find_it, is_greater, "nsr"),
                  primary=True),
          Subtest("most seeds do not under PSR", "found, % - 50", "", functools.partial(most_find_it, is_less, "psr"),
                  primary=True),
          Subtest("most seeds find it under NSR, one rate", "found, % - 50", "",
                  functools.partial(most_find_it, is_greater, "nsr"), ONE, reading_of="most seeds find it under NSR"),
          Subtest("most seeds do not under PSR, one rate", "found, % - 50", "",
                  functools.partial(most_find_it, is_less, "psr"), ONE, reading_of="most seeds do not under PSR"),
          Subtest("NSR sooner than PSR", LEAD, "", on_clock(is_greater, "nsr", "psr"))),
    claim("A3PO-C2", "On the clock: wrong answers alone explore, and find the rare way no later than both polarities do.", CURVES,
          DEFINITIONS, *by_code_of_a3po("NSR no later than GRPO", is_not_worse, "nsr", "grpo")),
    claim("A3PO-C7", "On the clock: right answers sharpen known patterns, wrong ones discover new ones.", CURVES, DEFINITIONS,
          *by_code_of_a3po("NSR sooner than PSR", is_greater, "nsr", "psr")),
    claim("A3PO-C14", "On the clock: A3PO explores more than GRPO and DAPO.", CURVES, OWN,
          *read_twice("A3PO sooner than GRPO", is_greater, "a3po", "grpo"),
          *read_twice("A3PO sooner than DAPO", is_greater, "a3po", "dapo"),
          per_answer("A3PO sooner than DAPO", is_greater, "a3po", "dapo")),
    claim("LENS-C1", "On the clock: LENS beats GRPO.", CURVES, OWN,
          *read_twice("LENS sooner than GRPO", is_greater, "lens", "grpo")),
    claim("LENS-C2", "On the clock: LENS's options carry over to another base policy, in which the way is less rare.", DIAL,
          AT_LEVELS,
          Subtest(f"LENS sooner than GRPO, r = {EASIER:g}", LEAD, "", at_level(is_greater, EASIER, "lens", "grpo"), AT_LEVELS,
                  WORLD, primary=True),
          *(Subtest(f"LENS sooner than GRPO, r = {r:g}", LEAD, "", at_level(is_greater, r, "lens", "grpo"), AT_LEVELS, WORLD)
            for r in LEVELS if r != EASIER)),
    claim("LENS-C5", "On the clock: dead groups alone give most of LENS's gain.", CURVES, METHODS,
          Subtest("dead groups alone sooner than mixed groups alone", LEAD, "",
                  on_clock(is_greater, "negative only", "mixed only"), primary=True),
          Subtest("dead groups alone sooner than GRPO", LEAD, "", on_clock(is_greater, "negative only", "grpo"), primary=True),
          *(Subtest(f"LENS sooner than {arm}", LEAD, "", on_clock(is_greater, "lens", arm))
            for arm in ("uniform penalty", "shuffled", "flipped")),
          *(Subtest(f"{arm} sooner than GRPO", LEAD, "", on_clock(is_greater, arm, "grpo"))
            for arm in ("uniform penalty", "ngrpo", "rl_zvp", "cw_nsr"))),
    claim("LENS-C10", "On the clock: LENS explores more and keeps the rare way more alive until it is found.", REASON, OWN,
          Subtest("more worked answers until then than GRPO", "worked answers per batch, log, %", "",
                  functools.partial(more_diverse, "lens", "grpo"), primary=True),
          Subtest("more worked answers until then than GRPO, one rate", "worked answers per batch, log, %", "",
                  functools.partial(more_diverse, "lens", "grpo"), ONE, reading_of="more worked answers until then than GRPO"),
          Subtest("a larger push than GRPO", "push, % of GRPO's", "", functools.partial(pushes_more, "lens", "grpo"))),
    claim("60", "Drawing until groups are mixed finds the rare way sooner, per batch and per answer drawn.", CURVES, OWN,
          *read_twice("DAPO sooner than GRPO", is_greater, "dapo", "grpo"),
          per_answer("DAPO sooner than GRPO", is_greater, "dapo", "grpo"),
          Subtest("DAPO as soon as GRPO, per answer drawn", "lead, % of the answers", "",
                  on_clock(is_equivalent, "dapo", "grpo", "answers"))),
    claim("61", "A method's place on the map foretells its time to discovery.", MAP, METHODS,
          Subtest("the clearer the signal, the sooner", "rank correlation x 100", "", as_forecast, primary=True)),
)

KNOWN_BEFORE = (
    "The clock was tried on six methods in two replicates, with other levels, groups of 16 and a quarter of the rate "
    "(data/pilots.csv): that it is noisy, and the order of single runs, were known.")
