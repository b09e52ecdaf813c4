"""The claims of PSR/NSR (arXiv 2506.01347) and three of ours about its runs.

The rules were committed before the runs they judge; data/pilots.csv lists what had been looked at. The paper's tail, k = 256
on MATH, is read at 256 in search and at 8 in latent, where 32 answers solve everything.
"""

import functools
from dataclasses import replace

import numpy as np

from polarity_lib.claims import (
    RELATIVE_MARGIN, Claim, Finding, Subtest, area, at_equal, at_share, checks, compare, difference, final, is_equivalent,
    in_order, is_greater, is_less, is_not_worse, relative_area, tail,
)
from polarity_lib.evaluation import powers_of_two
from polarity_lib.experiments import Runs
from polarity_lib.papers.psr_nsr.experiments import LAMBDAS, STRENGTHS, WEAKEST
from polarity_lib.papers.psr_nsr.theory import mechanism_checks
from polarity_lib.statistics import fitted_slope, simultaneous_t

P1, P8, P64, P256 = tail(1), tail(8), tail(64), tail(256)
FAR = {"latent": P8, "search": P256}  # where a world's tail is read
ENTROPY, WORK, GAP = "validation/entropy", "test/work_shown", "pool/pass@1 - test/pass@1"
REWARD, SOLVED = "train/reward", "groups/all_right"
TAILS = ("psr", "reinforce", "grpo", "ppo", "nsr")  # the paper's order at large k
SPLITS = {"seq": "sequence mean", "tok": "token mean"}


def at(experiment: str, world: str, **fields) -> dict:
    """Where a sub-test finds its runs."""
    return {"experiment": f"{experiment}_{world}", "world": world, **fields}


def read_thrice(name: str, metric: str, theirs: str, rule, left: str, right: str, world: str) -> tuple[Subtest, ...]:
    """A primary contrast at each method's own rate, and the same at one rate and by the other released formulas."""
    first = f"{name}, {world}"
    formulas = ((d, f"{left}_grpo_{d}", right if right in ("base", "grpo") else f"{right}_grpo_{d}") for d in SPLITS)
    return (
        Subtest(first, metric, theirs, compare(rule, left, right, metric), **at("psr_nsr", world), primary=True),
        Subtest(f"{first}, one rate", metric, "", compare(rule, left, right, metric), **at("one_rate", world), reading_of=first),
        *(Subtest(f"{first}, {SPLITS[d]}", metric, "", compare(rule, a, b, metric), **at("definitions", world),
                  reading_of=first, choice="definition") for d, a, b in formulas),
    )


# --- rules of this paper ------------------------------------------------------------


def best_but_one(runs: Runs) -> Finding:
    """W-REINFORCE against the best (by mean) of PSR, NSR, GRPO."""
    best = final(runs, P1)[["psr", "nsr", "grpo"]].mean().idxmax()
    found = is_not_worse(difference(runs, "w_reinforce", best, P1))
    return replace(found, reason=f"against {best}, the best of three; {found.reason}")


def at_every_k(runs: Runs) -> Finding:
    """NSR minus base at the k where the simultaneous interval reaches lowest."""
    ks = [k for k in powers_of_two(256) if tail(k) in set(runs.metrics.metric)]
    differences_SK = np.stack([difference(runs, "nsr", "base", tail(k)) for k in ks], axis=1)
    if len(differences_SK) < 2:
        return is_not_worse(differences_SK[:, -1])
    k, worst = min(zip(ks, simultaneous_t(differences_SK)), key=lambda pair: pair[1].low)
    found = is_not_worse(None, interval=worst)
    return replace(found, reason=f"lowest at k = {k}; {found.reason}")


def psr_tail(runs: Runs) -> Finding:
    """PSR below base at 64, with the k where its curve crosses the base's."""
    found = compare(is_less, "psr", "base", P64)(runs)
    ks = [k for k in powers_of_two(256) if tail(k) in set(runs.metrics.metric)]
    below = [k for k in ks if difference(runs, "psr", "base", tail(k)).mean() < 0]
    told = f"PSR falls below base from k = {below[0]} (paper: about 8)" if below else "PSR stays above base at every k measured"
    return replace(found, reason=f"{found.reason}; {told}")


def lambda_slopes(runs: Runs, levels, metric, transform) -> np.ndarray:
    """Per seed, the slope of a line through pass@k over the weights of right answers."""
    table = final(runs, metric)[[f"lambda={x:g}" for x in levels]].dropna()
    x = transform(np.array(levels))
    return np.array([fitted_slope(x, row) for row in table.to_numpy()])


def lambda_flat(metric: str, runs: Runs) -> Finding:
    """Predicted change of pass@k from lambda = 0 to 0.2."""
    return is_equivalent(0.2 * lambda_slopes(runs, [x for x in LAMBDAS if x <= 0.2], metric, transform=lambda x: x))


def lambda_falls(metric: str, runs: Runs) -> Finding:
    """Change of pass@k per factor of ten in lambda, from 0.05 to 2."""
    return is_less(lambda_slopes(runs, [x for x in LAMBDAS if x >= 0.05], metric, transform=np.log10))


def entropy_near_base(runs: Runs) -> Finding:
    """Mean validation entropy of NSR over training against the base's, in per cent of the base's."""
    mean, base = area(runs, ENTROPY), runs.metric(ENTROPY)["base"]
    return is_equivalent((100 * (mean["nsr"] / base - 1)).dropna(), RELATIVE_MARGIN)


def entropy_above(high: str, low: str, runs: Runs) -> Finding:
    """Mean validation entropy over training, high against low, in per cent."""
    return is_greater(relative_area(runs, high, low, ENTROPY), RELATIVE_MARGIN)


def area_above(high: str, low: str, metric: str, runs: Runs) -> Finding:
    """The mean of a curve over training, high minus low, in points."""
    mean = 100 * area(runs, metric)
    return is_greater((mean[high] - mean[low]).dropna())


def overfits_more(runs: Runs) -> Finding:
    """(pool minus test) of PSR minus that of NSR: fit to the training problems that does not carry over."""
    gap = final(runs, "pool/pass@1") - final(runs, P1)
    return is_greater((gap["psr"] - gap["nsr"]).dropna())


def strength_slope(runs: Runs) -> Finding:
    """(NSR - base) at k = 64 regressed on base pass@64 over the starts, a line per seed."""
    bases, nsr = ([f"{share:g}/{arm}" for share in STRENGTHS] for arm in ("base", "nsr"))
    table = final(runs, P64)[[*bases, *nsr]].dropna()
    x_SP = table[bases].to_numpy()
    slopes_S = [fitted_slope(x, y) for x, y in zip(x_SP, table[nsr].to_numpy() - x_SP)]
    found = is_greater(slopes_S, margin=0.0)
    return replace(found, reason=f"points of gain per point of base pass@64; {found.reason}")


def changes(arm: str, metric: str, direction, runs: Runs) -> Finding:
    """Relative change of a step metric from the first window to the last, in per cent."""
    rows = runs.metric(metric, last=False).query("arm == @arm").sort_values("step").groupby("seed").value
    return direction((100 * (rows.last() / rows.first() - 1)).to_numpy(), RELATIVE_MARGIN)


def late_change(arm: str, rule, runs: Runs) -> Finding:
    """Validation pass@1 at the end minus at a third of the long run, where the headline runs end."""
    metric = "validation/pass@1"
    return rule(100 * (at_share(runs, metric, 1.0)[arm] - at_share(runs, metric, 1 / 3)[arm]).to_numpy())


def late_gap(runs: Runs) -> Finding:
    """(final - peak) of NSR minus that of W-REINFORCE: picking a peak biases both alike."""
    rows = runs.metric("validation/pass@1", last=False).sort_values("step").groupby(["seed", "arm"]).value
    drop = 100 * (rows.last() - rows.max()).unstack()
    return is_less((drop["nsr"] - drop["w_reinforce"]).to_numpy())


def tail_at_equal_pass_1(rule, left: str, right: str, metric: str, runs: Runs) -> Finding:
    """pass@k along the path, where both arms first reach the pass@1 that both reach."""
    return rule(at_equal(runs, left, right, "validation/pass@1", metric))


# --- the claims ---------------------------------------------------------------------

F10 = "10_pass_at_k"
BOTH = "latent, search"
CURVES = "10_training_curves"

CLAIMS = (
    Claim("PSRNSR-C1", "Negatives alone raise pass@1 and reach GRPO.", "psr_nsr_search", "10", F10, tuple(
        test for world in FAR for test in (
            *read_thrice("NSR as good as GRPO", P1, "-0.6", is_equivalent, "nsr", "grpo", world),
            Subtest(f"NSR above base, {world}", P1, "+12.5", compare(is_greater, "nsr", "base", P1), **at("psr_nsr", world)),
            Subtest(f"NSR as good as GRPO, {world}, temperature 0.6", "cool/pass@1", "-0.6",
                    compare(is_equivalent, "nsr", "grpo", "cool/pass@1"), **at("psr_nsr", world)),
            Subtest(f"NSR as good as GRPO, {world}, one update", P1, "", compare(is_equivalent, "nsr", "grpo", P1),
                    **at("one_update", world)))), world=BOTH),
    Claim("PSRNSR-C2", "Negatives alone keep the tail of the base.", "psr_nsr_search", "10", F10, tuple(
        test for world, far in FAR.items()
        for test in read_thrice("NSR not below base", far, "0.0" if far == P256 else "", is_not_worse, "nsr", "base", world)),
        world=BOTH),
    Claim("PSRNSR-C3", "Negatives alone are not below base at any k.", "psr_nsr_search", "10", F10, tuple(
        Subtest(f"every k, {world}", "test/pass@k", "0.0", at_every_k, **at("psr_nsr", world), primary=world == "search")
        for world in FAR), world=BOTH),
    Claim("PSRNSR-C4", "Positives alone raise pass@1 and lose the tail.", "psr_nsr_search", "10", F10, (
        Subtest("PSR above base at 1", P1, "+10.9", compare(is_greater, "psr", "base", P1), primary=True),
        *read_thrice("PSR below base at 256", P256, "-5.7", is_less, "psr", "base", "search"),
        Subtest("where PSR falls below base", P64, "", psr_tail),
        Subtest("PSR above base at 1, latent", P1, "+10.9", compare(is_greater, "psr", "base", P1), **at("psr_nsr", "latent")),
        Subtest("PSR below base at 8, latent", P8, "", compare(is_less, "psr", "base", P8), **at("psr_nsr", "latent"))),
        world="search"),
    Claim("PSRNSR-C5", "At large k: PSR < REINFORCE < GRPO < PPO < NSR.", "psr_nsr_search", "10", F10, (
        Subtest("order at 256", P256, "91.2 92.0 95.5 96.3 96.9",
                functools.partial(in_order, P256, TAILS), primary=True),
        Subtest("order at 64", P64, "", functools.partial(in_order, P64, TAILS)),
        *read_thrice("NSR above PSR", P256, "+5.7", is_greater, "nsr", "psr", "search"),
        Subtest("NSR above PSR, temperature 0.6", "cool/pass@64", "", compare(is_greater, "nsr", "psr", "cool/pass@64")),
        Subtest("NSR above PSR, one update", P256, "", compare(is_greater, "nsr", "psr", P256), **at("one_update", "search"))),
        world="search"),
    Claim("PSRNSR-C6", "A tenth of the positives gives the best pass@1 and nearly keeps the tail.", "psr_nsr_search", "10",
          F10, (
        Subtest("pass@1 not below the best", P1, "0.0", best_but_one, primary=True),
        Subtest("not below base at 256", P256, "-0.2", compare(is_not_worse, "w_reinforce", "base", P256), primary=True),
        Subtest("pass@1 not below the best, one rate", P1, "", best_but_one, **at("one_rate", "search"),
                reading_of="pass@1 not below the best"),
        Subtest("not below base at 256, one rate", P256, "", compare(is_not_worse, "w_reinforce", "base", P256),
                **at("one_rate", "search"), reading_of="not below base at 256"),
        Subtest("not below base at 64", P64, "", compare(is_not_worse, "w_reinforce", "base", P64)),
        Subtest("pass@1 not below the best, latent", P1, "0.0", best_but_one, **at("psr_nsr", "latent"))), world="search"),
    Claim("PSRNSR-C7", "Up to lambda = 0.2 the tail hardly moves; towards 1 it falls.", "lambda_sweep", "11", "11_lambda", (
        Subtest("flat to 0.2 at 256", P256, "-1.0", functools.partial(lambda_flat, P256), primary=True),
        Subtest("falls per decade at 256", P256, "-3.9", functools.partial(lambda_falls, P256), primary=True),
        Subtest("flat to 0.2 at 64", P64, "", functools.partial(lambda_flat, P64)),
        Subtest("falls per decade at 64", P64, "", functools.partial(lambda_falls, P64))), world="search"),
    Claim("PSRNSR-C8", "Entropy: NSR stays near base, above PPO and GRPO, above PSR.", "psr_nsr_search", "10", CURVES, (
        Subtest("NSR above GRPO", ENTROPY, "", functools.partial(entropy_above, "nsr", "grpo"), primary=True),
        Subtest("GRPO above PSR", ENTROPY, "", functools.partial(entropy_above, "grpo", "psr"), primary=True),
        Subtest("NSR above GRPO, one rate", ENTROPY, "", functools.partial(entropy_above, "nsr", "grpo"),
                **at("one_rate", "search"), reading_of="NSR above GRPO"),
        Subtest("GRPO above PSR, one rate", ENTROPY, "", functools.partial(entropy_above, "grpo", "psr"),
                **at("one_rate", "search"), reading_of="GRPO above PSR"),
        Subtest("NSR near base", ENTROPY, "", entropy_near_base),
        Subtest("NSR above PPO", ENTROPY, "", functools.partial(entropy_above, "nsr", "ppo")),
        Subtest("PPO above PSR", ENTROPY, "", functools.partial(entropy_above, "ppo", "psr")),
        Subtest("NSR above GRPO, one update", ENTROPY, "", functools.partial(entropy_above, "nsr", "grpo"),
                **at("one_update", "search"))), world="search"),
    Claim("PSRNSR-C9", "Positives fit the training problems fastest; negatives slowest, without losing on the test.",
          "psr_nsr_latent", "10", CURVES, (
        Subtest("reward PSR above GRPO", REWARD, "", functools.partial(area_above, "psr", "grpo", REWARD), primary=True),
        Subtest("PSR overfits more", GAP, "", overfits_more, primary=True),
        Subtest("reward GRPO above NSR", REWARD, "", functools.partial(area_above, "grpo", "nsr", REWARD)),
        Subtest("solved groups PSR above GRPO", SOLVED, "", functools.partial(area_above, "psr", "grpo", SOLVED)),
        Subtest("solved groups GRPO above NSR", SOLVED, "", functools.partial(area_above, "grpo", "nsr", SOLVED)),
        Subtest("reward PSR above GRPO, one rate", REWARD, "", functools.partial(area_above, "psr", "grpo", REWARD),
                **at("one_rate", "latent"), reading_of="reward PSR above GRPO"),
        Subtest("NSR not below GRPO on the test", P1, "-0.6", compare(is_not_worse, "nsr", "grpo", P1))), world="latent"),
    Claim("PSRNSR-C10", "With a weak prior every method loses the tail, NSR least.", "strength", "11", "11_strength", (
        Subtest("NSR gains grow with the base", P64, "", strength_slope, primary=True),
        Subtest("NSR above PSR, weakest start", P64, "", compare(is_greater, f"{WEAKEST}/nsr", f"{WEAKEST}/psr", P64),
                primary=True),
        *(Subtest(f"{m} below base, weakest start", P64, "", compare(is_less, f"{WEAKEST}/{m}", f"{WEAKEST}/base", P64))
          for m in ("psr", "grpo", "nsr")),
        Subtest("NSR above GRPO, weakest start", P64, "", compare(is_greater, f"{WEAKEST}/nsr", f"{WEAKEST}/grpo", P64))),
        world="search"),
    Claim("PSRNSR-C11", "NSR switches on a rare accurate style of the base; PSR does not.", "psr_nsr_latent", "11", "11_latent", (
        Subtest("NSR shows more work than base", WORK, "", compare(is_greater, "nsr", "base", WORK), primary=True),
        Subtest("PSR does not", WORK, "", compare(is_equivalent, "psr", "base", WORK), primary=True),
        Subtest("NSR shows more work than PSR", WORK, "", compare(is_greater, "nsr", "psr", WORK)),
        Subtest("NSR above PSR at 1", P1, "", compare(is_greater, "nsr", "psr", P1)),
        Subtest("PSR does not, one rate", WORK, "", compare(is_equivalent, "psr", "base", WORK), **at("one_rate", "latent"),
                reading_of="PSR does not")), world="latent"),
    Claim("PSRNSR-C12", "The gradients of PSR and NSR, and what an NSR step does to the other tokens.",
          "", "02", "02_directions", functools.partial(checks, mechanism_checks, "where they differ most"),
          world="one softmax"),
    Claim("PSRNSR-C13", "NSR limits itself: fewer wrong rows, smaller gradients. PSR does not.",
          "psr_nsr_latent", "10", "10_self_limiting", (
        Subtest("NSR update falls", "update/norm", "", functools.partial(changes, "nsr", "update/norm", is_less), primary=True),
        Subtest("NSR gradient falls", "update/gradient_norm", "",
                functools.partial(changes, "nsr", "update/gradient_norm", is_less), primary=True),
        # Younger than the runs: the claim's second half had no sub-test, and its outcome was known when this was added.
        Subtest("PSR update does not fall", "update/norm", "",
                functools.partial(changes, "psr", "update/norm", is_not_worse), primary=True),
        Subtest("NSR rows fall", "signal/rows", "", functools.partial(changes, "nsr", "signal/rows", is_less)),
        Subtest("PSR rows rise", "signal/rows", "", functools.partial(changes, "psr", "signal/rows", is_greater))),
        world="latent"),
    Claim("PSRNSR-C14", "Long training by negatives alone decays; a few positives prevent it.", "long_runs", "11", "11_long", (
        Subtest("NSR falls late", "validation/pass@1", "", functools.partial(late_change, "nsr", is_less), primary=True),
        Subtest("W-REINFORCE does not", "validation/pass@1", "",
                functools.partial(late_change, "w_reinforce", is_not_worse), primary=True),
        Subtest("NSR drops more from its peak", "validation/pass@1", "", late_gap)), world="latent"),
    # Ours: what must hold for the comparisons above to mean anything, and what nobody has measured.
    Claim("OURS-1", "Controls: lying verifiers teach nothing, and polarity is more than the size of the update.",
          "controls", "10", "10_controls", (
        Subtest("tossed verdicts below true ones", P1, "", compare(is_less, "grpo_tossed", "grpo", P1)),
        Subtest("flipped verdicts not above tossed", P1, "", compare(is_not_worse, "grpo_tossed", "grpo_flipped", P1)),
        Subtest("PSR and NSR differ at GRPO's update size", P8, "", compare(is_greater, "nsr_matched", "psr_matched", P8))),
        paper="ours", world="latent"),
    Claim("OURS-2", "The three released formulas behind one name give the same result.", "definitions_search", "10",
          "10_definitions_search", tuple(Subtest(f"{p} constant against {SPLITS[d]} at {k}, {world}", tail(k), "",
                        compare(is_equivalent, p, f"{p}_grpo_{d}", tail(k)), **at("definitions", world))
                for world, far in (("latent", 8), ("search", 256)) for p in ("psr", "nsr") for d in SPLITS for k in (1, far)),
          paper="ours", world=BOTH),
    Claim("OURS-3", "At the pass@1 that both reach, NSR has more tail than GRPO and PSR has less.", "psr_nsr_search", "10",
          "10_exchange", (
        Subtest("NSR above GRPO", "validation/pass@16", "", functools.partial(
            tail_at_equal_pass_1, is_greater, "nsr", "grpo", "validation/pass@16"), primary=True),
        Subtest("PSR below GRPO", "validation/pass@16", "", functools.partial(
            tail_at_equal_pass_1, is_less, "psr", "grpo", "validation/pass@16"), primary=True),
        Subtest("NSR above GRPO, one rate", "validation/pass@16", "", functools.partial(
            tail_at_equal_pass_1, is_greater, "nsr", "grpo", "validation/pass@16"), **at("one_rate", "search"),
            reading_of="NSR above GRPO"),
        Subtest("PSR below GRPO, one rate", "validation/pass@16", "", functools.partial(
            tail_at_equal_pass_1, is_less, "psr", "grpo", "validation/pass@16"), **at("one_rate", "search"),
            reading_of="PSR below GRPO")), paper="ours", world="search"),
)


# --- for written pages ---


KNOWN_BEFORE = (
    "The worlds and their horizons were chosen by base and GRPO alone, after the pilots that data/pilots.csv lists; among them "
    "are single runs of PSR and NSR in latent, mix and search, so the signs of C1, C4, C5 and C11 there had been seen once. "
    "The first study, in other worlds with one update per batch, was known as well.")
SUMMARIES = (("Latent, per cent", "psr_nsr_latent", "", (1, 8)), ("Search, per cent", "psr_nsr_search", "", (1, 16, 64, 256)))
