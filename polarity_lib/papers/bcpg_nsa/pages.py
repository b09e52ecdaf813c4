"""What the README says of BCPG-NSA, from committed runs."""

from polarity_lib.claims import compare, final, is_not_worse, told
from polarity_lib.papers.bcpg_nsa.claims import AND, NSA, P1
from polarity_lib.papers.bcpg_nsa.experiments import BASELINES, offline_record


def _offline(load) -> str:
    """What wrong answers add to right ones offline, what sparing their right steps adds to that, and that labels are seen."""
    runs, judges = load("bcpg_offline"), load("bcpg_judges")

    def read(left: str, right: str, where=runs):
        return compare(is_not_worse, left, right, P1)(where).interval

    gain, bcpg = read("rft", "base"), read("bcpg", "rft")
    behind = {m: read(m, "rft") for m in BASELINES}
    spared, agreed, anywhere = read(NSA, "bcpg"), read(AND, "bcpg"), read(NSA, "bcpg_nsa anywhere", judges)
    apart = offline_record()["gates"]["tells tokens apart"]["found"]
    assert gain.low > 20 and -1 < bcpg.low < 0 < bcpg.high < 1 and max(found.high for found in behind.values()) < 0
    assert max(abs(spared.low), abs(spared.high), abs(agreed.low), abs(agreed.high)) < 1 and apart[1] > 1
    shown = final(runs, "test/work_shown")
    return ("**Offline, one's own wrong answers add nothing to the right ones here, and sparing their right steps adds nothing "
            "either.** "
            f"In *gems* ({gain.n} seeds, own rates, all on the same stored answers) fine-tuning on right answers alone brings "
            f"{told(gain)} points at pass@1, while answers that show their work go from {shown['base'].mean():.0f} to "
            f"{shown['rft'].mean():.0f} %. Of those that push wrong ones down too, BCPG ends {told(bcpg)} from there, TOPR "
            f"{told(behind['topr'])}, DPO {told(behind['dpo'])}, offline GRPO {told(behind['grpo_offline'])}. Sparing the right "
            f"steps of wrong answers (BCPG-NSA, beta 0.5) changes BCPG by "
            f"{told(spared)} with exact labels and by {told(agreed)} with two noisy judges that must agree; exact labels end "
            f"{told(anywhere)} above as many random tokens. The world does see which tokens are chosen: *rewarding* right steps "
            f"instead of random tokens is worth {apart[0]:+.1f} ({apart[1]:+.1f}, {apart[2]:+.1f}) on four validation seeds.")


FINDINGS = (_offline,)
