"""How the learning rates were chosen: validation seeds only, by a rule."""

import pandas as pd

from polarity_lib.experiments import Runs, experiment, tuned_rate
from polarity_lib.methods import method_named
from polarity_lib.papers.baselines.experiments import FAMILIES, REPEATED_FAMILIES, VALIDATION_SEEDS, choose_rates
from polarity_lib.registry import EXPERIMENTS, METHODS


def test_tuning_never_sees_a_reported_seed():
    tuned = {arm.seed for arm in experiment("tuning", seeds=EXPERIMENTS["tuning"].seeds)}
    ours = {n: e for n, e in EXPERIMENTS.items() if not n.startswith(("tuning", "gates_"))}  # these are for validation seeds
    reported = {a.seed for n, e in ours.items() for a in experiment(n, seeds=e.seeds)}
    assert tuned == set(VALIDATION_SEEDS) and not tuned & reported


def test_every_method_has_a_family_with_a_frozen_rate():
    assert {method_named(name).family for name in METHODS} == set(FAMILIES)
    assert all(name in METHODS and method_named(name).family == family for family, names in FAMILIES.items() for name in names)
    assert all(0 < tuned_rate(method) < 1e-2 for method in METHODS)
    main = {arm.name: arm.config for arm in experiment("psr_nsr_search")}
    assert main["psr"].learning_rate == main["nsr"].learning_rate == main["w_reinforce"].learning_rate


def test_several_updates_per_batch_have_their_own_rates():
    for setting, methods in REPEATED_FAMILIES.items():
        family, updates = setting.split("/")
        for method in methods:
            assert method_named(method).family == family and 0 < tuned_rate(method, f"/{updates}") < 1e-2


# ---------------------------------------------------------------- the rule


def rates_from(ends):
    """ends: (method, rate, seed) -> (first, last) validation pass@1."""
    rows = [{"arm": f"{m}/{rate}", "seed": seed, "metric": "validation/pass@1", "step": step, "value": value}
            for (m, rate, seed), pair in ends.items() for step, value in zip((0, 200), pair)]  # fmt: skip
    return choose_rates(Runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), []))


def plain(constant=(0.4, 0.5, 0.6), others=(0.5, 0.5, 0.5)):
    """Two seeds, three rates, every run starting at 0.3."""
    table = {}
    for family, methods in FAMILIES.items():
        for method in methods:
            for rate, last in zip(("2e-05", "5e-05", "0.0001"), constant if family == "constant" else others):
                for seed in VALIDATION_SEEDS:
                    table[method, rate, seed] = (0.3, last)
    return table


def test_the_best_mean_wins_and_ties_go_to_the_lower_rate():
    assert rates_from(plain()) == {"constant": 1e-4, "group": 2e-5, "critic": 2e-5}


def test_a_rate_at_which_one_run_collapsed_is_out():
    table = plain()
    table["psr", "0.0001", 1001] = (0.3, 0.14)  # below half of its base, though the mean is still the best
    assert rates_from(table)["constant"] == 5e-5
    table["psr", "0.0001", 1001] = (0.3, 0.15)  # exactly half is not below half
    assert rates_from(table)["constant"] == 1e-4


def test_where_every_rate_collapses_the_lowest_is_taken():
    assert rates_from(plain(constant=(0.1, 0.12, 0.14)))["constant"] == 2e-5
