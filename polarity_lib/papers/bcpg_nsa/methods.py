"""The methods: offline ones, which learn from answers that somebody wrote before, and online ones with step credit.

Offline, the loop's batches come from a data set (`RunConfig.offline`); the methods ask for `sampled_logprobs`, the
log-probabilities under the policy that wrote it. Nothing here draws anything but the controls' luck and `step_values`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from polarity_lib import advantages as adv
from polarity_lib import objectives as obj
from polarity_lib.config import choose, derive_seed, within
from polarity_lib.methods import Method, collect_fixed, keep_right, per_rollout, weighted
from polarity_lib.papers.baselines.methods import grpo
from polarity_lib.papers.bcpg_nsa import credit, losses, mining
from polarity_lib.papers.bcpg_nsa.judges import LLM_LIKE, PRM_LIKE, Judge, Simulated, consensus, either, oracle, product
from polarity_lib.papers.bcpg_nsa.rewriting import NEGATIVES, collect_rewritten
from polarity_lib.rollouts import Rollouts

PAPER = "arXiv 2505.14403, by a third party's digest"
WRITTEN = frozenset({"sampled_logprobs"})

JUDGES: dict[str, Judge] = {"oracle": oracle, "llm": LLM_LIKE, "prm": PRM_LIKE, "and": consensus(LLM_LIKE, PRM_LIKE),
                            "or": either(LLM_LIKE, PRM_LIKE), "product": product(LLM_LIKE, PRM_LIKE)}
SELECTIONS = ("good", "uniform", "answer", "random", "anywhere", "bad", "prefix")
PENALTIES = ("sequence", "centred", "per_token")


@dataclass(frozen=True)
class NSAOptions:
    """What BCPG-NSA leaves open, and its controls.

    Attributes:
        beta: the mining coefficient. 1 is plain BCPG.
        tau: of the squared log-ratio. The paper's 1e-3 is for answers of 7,000 tokens: see the card's scale warning.
        judge: of `JUDGES`, or "noisy": the oracle with `recall` and `false_alarm`; two independent ones that must agree
            where `pair` is set.
        select: which tokens get the weight. "good": the right steps of wrong answers. Controls, as heavy: "uniform" over wrong
            answers, each "answer"'s own mean, "random" tokens of the answer, or "anywhere" in wrong answers. "bad": the others;
            "prefix": right steps before the first error alone.
        recentre: take away the net push upwards that weights below 1 leave.
        penalty: of `PENALTIES`. length: divide an answer by its length.
        negatives: whose wrong answers: "own", or rewritten ones.
    """

    beta: float = 0.5
    tau: float = 0.1
    judge: str = "oracle"
    recall: float = 1.0
    false_alarm: float = 0.0
    pair: bool = False
    select: str = "good"
    recentre: bool = False
    penalty: str = "sequence"
    length: bool = True
    negatives: str = "own"

    def __post_init__(self):
        choose("judge", self.judge, (*JUDGES, "noisy"))
        choose("select", self.select, SELECTIONS)
        choose("penalty", self.penalty, PENALTIES)
        choose("kind of negatives", self.negatives, NEGATIVES)
        within("beta", self.beta, "[-1, 1]")
        within("tau", self.tau, "[0, inf)")

    def make_judge(self) -> Judge:
        """The judge, one object per method, so that what it said is remembered."""
        if self.judge != "noisy":
            return JUDGES[self.judge]
        one, two = (Simulated(self.recall, self.false_alarm, name) for name in ("first", "second"))
        return consensus(one, two) if self.pair else one


def token_weights(options: NSAOptions) -> Callable:
    """weights(rollouts, progress) -> [N, T] for `methods.weighted`."""
    judge = options.make_judge()

    def weights(rollouts: Rollouts, progress):
        right_N, mask_NT = rollouts.correct_N, rollouts.mask_NT
        good_NT = mining.judged_tokens(rollouts, judge)
        seed = derive_seed("nsa", options.select, progress.step, *(p.key for p in rollouts.problems))
        chosen_NT = {
            "good": lambda: good_NT, "prefix": lambda: mining.before_first_error(good_NT, mask_NT),
            "uniform": lambda: mining.uniform_labels(good_NT, mask_NT, right_N),
            "answer": lambda: mining.answer_labels(good_NT, mask_NT, right_N),
            "random": lambda: mining.random_labels(good_NT, mask_NT, right_N, seed),
            "anywhere": lambda: mining.anywhere_labels(good_NT, mask_NT, right_N, seed),
            "bad": lambda: mining.bad_labels(good_NT, mask_NT, right_N),
        }[options.select]()
        return mining.nsa_weights(chosen_NT, right_N, options.beta)

    return weights


def bcpg_nsa(options: NSAOptions = NSAOptions()) -> Method:
    """Rewards less their group's mean, less on trusted right steps of wrong answers, held near the policy that wrote them."""
    mean_baseline = per_rollout(adv.dr_grpo)
    advantage = mean_baseline if options.beta == 1 else weighted(mean_baseline, token_weights(options))
    own = options.negatives == "own"
    written = "sampled_logprobs" if own else "reference_logprobs"

    def recentred(rollouts, rewards_N, progress):
        return mining.recentred(advantage(rollouts, rewards_N, progress), rollouts.mask_NT, rollouts.group_N)

    def loss(logp, old, A, mask, extras):
        if options.penalty == "centred":
            return losses.bcpg_centred(logp, old, A, mask, extras[written], extras["groups"], options.tau)
        function = losses.bcpg if options.penalty == "sequence" else losses.bcpg_per_token
        return function(logp, old, A, mask, extras[written], options.tau)

    return Method(
        "bcpg_nsa", PAPER, advantage=recentred if options.recentre else advantage, token_loss=loss,
        aggregate=obj.sequence_mean_token_mean if options.length else obj.sequence_mean_token_sum,
        collect=collect_fixed if own else collect_rewritten(options.negatives),
        needs=frozenset({written} | ({"groups"} if options.penalty == "centred" else set())),
        zero_rows_are_free=False)


def bcpg(tau: float = 0.1, penalty: str = "sequence", length: bool = True, negatives: str = "own") -> Method:
    """BCPG-NSA with nothing spared: the squared log-ratio and a mean baseline."""
    return replace(bcpg_nsa(NSAOptions(beta=1.0, tau=tau, penalty=penalty, length=length, negatives=negatives)), name="bcpg")


def reinforce_offline() -> Method:
    """+1 and -1 by verdict on stored answers, unbounded below: what a constraint is for."""
    return Method("reinforce_offline", "ours", advantage=per_rollout(adv.signed_constant, grouped=False),
                  token_loss=lambda logp, old, A, mask, extras: obj.policy_gradient(logp, old, A, mask),
                  aggregate=obj.sequence_mean_token_mean)


def rft() -> Method:
    """Rejection fine-tuning: the negative log-likelihood of right answers, per token."""
    return Method("rft", "standard; arXiv 2505.14403, Table 7", keep=keep_right,
                  advantage=per_rollout(adv.signed_constant, grouped=False, negative_weight=0.0),
                  token_loss=lambda logp, old, A, mask, extras: obj.policy_gradient(logp, old, A, mask),
                  aggregate=obj.kept_token_mean)


def dpo(beta: float = 0.5, negatives: str = "own") -> Method:
    """Direct preference optimisation on pairs of a right and a wrong answer of one group."""
    written = "sampled_logprobs" if choose("kind of negatives", negatives, NEGATIVES) == "own" else "reference_logprobs"

    def loss(logp, old, A, mask, extras):
        return losses.dpo(logp, old, A, mask, extras[written], extras["groups"], beta)

    return Method("dpo", "arXiv 2305.18290", advantage=per_rollout(losses.pair_signs), token_loss=loss,
                  aggregate=obj.sequence_mean_token_sum, needs=frozenset({written, "groups"}),
                  collect=collect_fixed if negatives == "own" else collect_rewritten(negatives))


def topr(mined: bool = False, beta: float = 0.5) -> Method:
    """Tapered off-policy REINFORCE, +1 and -1 by verdict. How the paper set its reward and baseline is unverified.

    Args:
        mined: NSA's token weights on top, with the oracle's labels.
    """
    advantage = per_rollout(adv.signed_constant, grouped=False)
    return Method("topr", "arXiv 2503.14286",
                  advantage=weighted(advantage, token_weights(NSAOptions(beta=beta))) if mined else advantage,
                  token_loss=lambda logp, old, A, mask, extras: losses.topr(logp, old, A, mask, extras["sampled_logprobs"]),
                  aggregate=obj.sequence_mean_token_mean, needs=WRITTEN)


def grpo_offline(mined: bool = False, beta: float = 0.5) -> Method:
    """GRPO whose ratio is to the policy that wrote the answers. All its details are unverified in our card.

    Args:
        mined: as in `topr`.
    """
    advantage = per_rollout(adv.grpo)

    def loss(logp, old, A, mask, extras):
        return obj.ppo_clip(logp, extras["sampled_logprobs"], A, mask)

    return Method("grpo_offline", "ours, after arXiv 2402.03300",
                  advantage=weighted(advantage, token_weights(NSAOptions(beta=beta))) if mined else advantage,
                  token_loss=loss, aggregate=obj.sequence_mean_token_mean, needs=WRITTEN)


# ---------------------------------------------------------------- fine-tuning on one verdict (BCPG-C1)


WORK = ("any", "mostly right", "nothing right")


def imitate(side: str = "right", work: str = "any", alike: str = "none") -> Method:
    """The likelihood of answers of one verdict, where every question counts once, whatever its number of answers.

    Args:
        side: "right" or "wrong" answers.
        work: of the wrong ones, "any", those with at least half of their steps right, or those with no right step.
        alike: "none", or "counts": as many answers of a question from either verdict, the first ones.
    """
    choose("side", side, ("right", "wrong"))
    choose("work", work, WORK)
    choose("alike", alike, ("none", "counts"))

    def advantage(rollouts: Rollouts, rewards_N, progress):
        chosen_N = (rewards_N > 0) if side == "right" else (rewards_N <= 0)
        if alike == "counts":
            chosen_N = losses.pair_signs(rewards_N, rollouts.group_N) == (1 if side == "right" else -1)
        if work != "any":
            shares_N = mining.row_shares(rollouts)
            chosen_N = chosen_N & (shares_N >= 0.5 if work == "mostly right" else ~(shares_N > 0))
        return adv.expand(question_weights(chosen_N, rollouts.group_N), rollouts.mask_NT)

    return Method("imitate", "ours, after arXiv 2505.14403, Table 1", advantage=advantage,
                  token_loss=lambda logp, old, A, mask, extras: obj.policy_gradient(logp, old, A, mask),
                  aggregate=obj.sequence_mean_token_mean)


def question_weights(chosen_N, group_N):
    """[N] weights that are 0 on rows not chosen and sum to the group's size over those that are."""
    weights_N = torch.zeros(len(group_N))
    for group in group_N.unique():
        mine = (group_N == group) & chosen_N
        if mine.any():
            weights_N[mine] = int((group_N == group).sum()) / int(mine.sum())
    return weights_N


# ---------------------------------------------------------------- online: step credit (notebook 52)


def _blaming(name: str, weights: Callable, source: str = "ours, after arXiv 2406.14532") -> Method:
    under = grpo()

    def places(rollouts, progress):
        return weights(credit.error_places(rollouts), rollouts.correct_N)

    return replace(under, name=name, source=source, advantage=weighted(under.advantage, places))


def first_error() -> Method:
    """GRPO that punishes the first error of a wrong answer and nothing else of it."""
    return _blaming("first_error", credit.first_error)


def from_first_error() -> Method:
    """GRPO that punishes wrong answers from their first error on."""
    return _blaming("from_first_error", credit.from_first_error)


def prefix_only() -> Method:
    """A control that should do harm: GRPO that punishes only what is right before the first error."""
    return _blaming("prefix_only", credit.prefix_only)


def sparing(select: str = "good", judge: str = "oracle", beta: float = 0.0) -> Method:
    """GRPO with NSA's token weights: right steps of wrong answers are spared, or a control's tokens."""
    under = grpo()
    options = NSAOptions(beta=beta, judge=judge, select=select)
    return replace(under, name="sparing", source="ours", advantage=weighted(under.advantage, token_weights(options)))


def step_values(continuations: int = 4) -> Method:
    """GRPO in right answers; in wrong ones each step gets what it changed in the chance of success, by sampling on."""
    def advantage(rollouts, rewards_N, progress):
        return credit.step_advantages(rollouts.extras["values_before"], rollouts.extras["step_values"], rewards_N,
                                      rollouts.group_N, rollouts.mask_NT)

    return replace(grpo(), name="step_values", source="arXiv 2406.14532", advantage=advantage,
                   collect=credit.collect_with_values(continuations))


def nthr(eta: float = 0.0, graded: bool = False) -> Method:
    """GRPO that spares the tokens of wrong answers whose punishment would hurt the group's right answers most.

    Args:
        eta: what is left of the punishment there.
        graded: eta is 2 |0.5 - p| instead.
    """
    under = grpo()

    def loss(logp, old, A, mask, extras):
        right_N = (A * mask).sum(1) > 0
        weights_NT = credit.nthr_weights(extras["old_hidden"], extras["old_distributions"], extras["tokens"], mask, right_N,
                                         extras["groups"], None if graded else eta)
        return under.token_loss(logp, old, A * weights_NT, mask, extras)

    return replace(under, name="nthr", source="arXiv 2505.18830", token_loss=loss,
                   needs=frozenset({"old_hidden", "old_distributions", "groups", "tokens"}))


METHODS = {f.__name__: f for f in (
    bcpg_nsa, bcpg, reinforce_offline, rft, dpo, topr, grpo_offline, imitate, first_error, from_first_error, prefix_only,
    sparing, step_values, nthr)}

MINING = {"beta": "[-1, 1]"}
LIMITS = {  # of what NSAOptions does not look at itself
    "bcpg_nsa": {"recall": "[0, 1]", "false_alarm": "[0, 1]"},
    "dpo": {"beta": "(0, inf)"},
    "topr": MINING, "grpo_offline": MINING, "sparing": MINING,
    "step_values": {"continuations": "[1, inf)"},
    "nthr": {"eta": "[0, 1]"},
}
