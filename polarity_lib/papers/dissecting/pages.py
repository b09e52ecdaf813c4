"""What the README says of Dissecting, from committed runs."""

from polarity_lib.claims import compare, final, is_not_worse, told
from polarity_lib.papers.dissecting.claims import P1
from polarity_lib.statistics import paired_t


def _starts(load) -> str:
    """What one polarity alone teaches from the two starts, and what wrong only lacks of both, at one rate and at own ones."""
    one, own = load("dissect_polarity"), load("dissect_own_rates")

    def read(left: str, right: str, runs=one):
        return compare(is_not_worse, left, right, P1)(runs).interval

    right, wrong = read("zero/right", "zero/base"), read("zero/wrong", "zero/base")
    cold, zero = read("cold/wrong", "cold/both"), read("zero/wrong", "zero/both")
    cold_own, zero_own = read("cold/wrong", "cold/both", own), read("zero/wrong", "zero/both", own)
    table = final(one, P1)
    interaction = paired_t(table["cold/wrong"] - table["cold/both"] - table["zero/wrong"] + table["zero/both"])
    ends = table["cold/both"].sort_values()
    assert min(right.low, wrong.low) > 0 > max(cold.high, zero.high) and ends.iloc[0] < ends.iloc[1] - 20
    assert interaction.low < 0 < interaction.high  # "not decided"
    assert all(-own.estimate < 0.5 * -found.estimate for own, found in ((cold_own, cold), (zero_own, zero)))  # "half"
    for start, lack in (("cold", cold), ("zero", zero)):  # "most"
        assert -lack.estimate < 0.25 * read(f"{start}/both", f"{start}/base").estimate
    weak, rates = ends.index[0], {arm.name: arm.config.learning_rate for arm in own.arms}
    times = rates["cold/both"] / rates["cold/wrong"]
    return ("**Wrong answers alone teach most of what both teach, from either start.** Dissecting finds right answers needed by "
            f"zero-RL, and wrong ones alone enough after a cold start. In *latent* ({wrong.n} seeds, one rate) wrong only gains "
            f"{told(wrong)} points at pass@1 by zero-RL, right only {told(right)}. Wrong only minus both is {told(cold)} after a "
            f"cold start and {told(zero)} by zero-RL; the one rate is both's own and {times:g} times that of wrong only. At own "
            f"rates less than half of that is left, {told(cold_own)} and {told(zero_own)}. The interaction of start "
            f"and polarity, the paper's headline, is not decided: {told(interaction)}. One weak seed widens all intervals at one "
            f"rate: after its cold start wrong only goes from {table['cold/base'][weak]:.0f} to "
            f"{table['cold/wrong'][weak]:.0f} %, both to {ends.iloc[0]:.0f} %; in the other seeds both end "
            f"at {ends.iloc[1]:.0f} to {ends.iloc[-1]:.0f}. "
            "Both our starts have learned to work a problem out before they differ, which a base model need not have.")


FINDINGS = (_starts,)
