"""Mistakes are one line before any computing."""

import pytest

from polarity_lib.__main__ import main

pytestmark = pytest.mark.usefixtures("own_runs")


@pytest.mark.parametrize("arguments, hint", [
    (["plan", "--scale", "tny"], "Did you mean 'tiny'"),
    (["run", "psr_nsr_serch", "--scale", "smoke"], "Did you mean 'psr_nsr_search'"),
    (["run", "psr_nsr_search", "--arms", "grop", "--scale", "smoke"], "Did you mean 'grpo'"),
    (["plan", "--only", "1O"], "Did you mean '10'"),
    (["notebook", "10", "-p", "seed", "2"], "Did you mean 'seeds'"),
    (["notebook", "10", "-p", "seeds", "two"], "'two' does not fit"),
    (["notebook", "10_spectrun"], "Did you mean '10_spectrum'"),
    (["run", "psr_nsr_search", "--scale", "paper"], "make plan SCALE=paper"),
])
def test_a_misspelt_name_ends_with_the_near_miss(arguments, hint, notebooks, capsys):
    assert main(arguments) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("arguments, hint", [
    (["plan", "--scael", "tiny"], "Did you mean --scale"),
    (["run", "psr_nsr_search", "--seeds", "0"], "not a whole number above zero"),
    (["stdy"], "invalid choice"),
])
def test_a_misspelt_option_is_refused(arguments, hint, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert hint in capsys.readouterr().err


def test_a_base_policy_is_made_once(tmp_path, capsys):
    arguments = ["base-policy", "countdown", "smoke", "2", "0"]
    assert main(arguments) == 0
    weights = next((tmp_path / "runs" / "starts").glob("countdown-smoke-2-s0-*/weights.pt"))
    made = weights.stat().st_mtime_ns
    assert main(arguments) == 0 and weights.stat().st_mtime_ns == made
    assert main(["base-policy", "countdwn", "smoke", "2", "0"]) == 2
    assert "Did you mean 'countdown'" in capsys.readouterr().err
