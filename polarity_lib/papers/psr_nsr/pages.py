"""What the README says of PSR/NSR, from committed runs."""

from polarity_lib.claims import compare, final, is_not_worse, tail, told
from polarity_lib.papers.psr_nsr.claims import P1, P8
from polarity_lib.registry import Headline
from polarity_lib.statistics import paired_t


def _polarities(load) -> Headline:
    """What wrong answers alone teach in both worlds, beside both polarities, and what is lost in the tail."""
    runs, once, search = load("psr_nsr_latent"), load("one_update_latent"), load("psr_nsr_search")

    def read(left, right, metric=P1, where=runs):
        return compare(is_not_worse, left, right, metric)(where).interval

    gain, tail_kept, short = read("nsr", "base"), read("psr", "base", P8), read("nsr", "grpo")
    little, much = read("nsr", "base", where=search), read("grpo", "base", where=search)
    behind = read("nsr", "grpo", where=search)
    lost = {name: read(name, "base", tail(256), search) for name in ("nsr", "grpo", "psr")}
    one, cool = read("nsr", "grpo", where=once), read("nsr", "grpo", "cool/pass@1")
    ends, ends_once = final(runs, P1), final(once, P1)
    fall = {name: (ends_once[name] - ends[name]).dropna().mean() for name in ("grpo", "nsr")}
    assert min(gain.low, tail_kept.low, little.low, one.low) > 0 > max(short.high, behind.high) and cool.low < 0 < cool.high
    assert max(found.high for found in lost.values()) < 0
    assert lost["nsr"].estimate > max(lost["grpo"].estimate, lost["psr"].estimate)
    assert fall["grpo"] < -5 < -2 < fall["nsr"] < 2
    return Headline(
        "Wrong answers alone teach almost as much as both where a good way of working is there to be found, and little where "
        "it is not.",
        f"In *latent*, where it is there, wrong only (NSR) brings {told(gain)} points at pass@1, {told(short)} against both "
        f"(GRPO); in *search*, which has one way of working, {told(little)} where GRPO brings {told(much)}. Of the tail it "
        f"loses least there: at pass@256 {told(lost['nsr'])}, GRPO {told(lost['grpo'])}, right only (PSR) {told(lost['psr'])}.",
        f"{gain.n} seeds in *latent* and {little.n} in *search*, each method at its own rate. In *latent* the way is rare in "
        f"the base and soon found, and PSR gains {told(tail_kept)} at pass@8. The order there hangs on more than polarity: "
        f"with one update per batch at four times these rates, not tuned again, GRPO ends {-fall['grpo']:.0f} points lower "
        f"and NSR where it was, so NSR minus GRPO is {told(one)} ({one.n} seeds); at temperature 0.6 the two cannot be told "
        f"apart, {told(cool)}. No interval here is corrected for the number of contrasts; the verdicts are.")


def _definitions(load) -> Headline:
    """What right only and wrong only differ by, for each formula that goes by these names."""
    runs = load("definitions_latent")
    by_name = {words: compare(is_not_worse, f"psr{ending}", f"nsr{ending}", P1)(runs).interval for words, ending in (
        ("constant weights", ""), ("sequences", "_grpo_seq"), ("tokens", "_grpo_tok"))}
    constant, sequences, tokens = by_name.values()
    table = final(runs, P1)
    by_sequences, by_tokens = (
        paired_t((table.psr - table.nsr - table[f"psr_grpo_{d}"] + table[f"nsr_grpo_{d}"]).dropna()) for d in ("seq", "tok"))
    assert constant.low > 0 and sequences.low < 0 < sequences.high and tokens.low < 0 < tokens.high
    assert min(by_sequences.low, by_tokens.low) > 0
    return Headline(
        "Right only against wrong only hangs on the formula behind the words.",
        f"Released codes hold three. In *latent* PSR ends above NSR by {told(constant)} points at pass@1 with constant weights; "
        f"as the two halves of GRPO no difference is seen, {told(sequences)} averaged over sequences and {told(tokens)} over "
        "tokens.",
        f"The same {constant.n} seeds and one rate. The first lead exceeds the others by {told(by_sequences)} and "
        f"{told(by_tokens)}.")


FINDINGS = (_polarities, _definitions)
