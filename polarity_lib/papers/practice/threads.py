"""Who says what in which thread, in our words; what would decide it; and what the option is called in TRL and verl.

Option names are those of TRL 1.16 and verl 0.9. [R]: the thread reports runs; [A]: it is argued only.
"""

from dataclasses import dataclass

from polarity_lib.registry import CLAIMS


@dataclass(frozen=True)
class Dispute:
    """One dispute.

    Attributes:
        said: who claims what, where.
        doubted: what is said against it.
        decides: what would settle it.
        trl, verl: what to set there if our verdict carries over.
    """

    threads: str
    said: str
    doubted: str
    decides: str
    trl: str
    verl: str


DISPUTES = {
    "PRACTICE-P1": Dispute(
        "TianHongZXY/RLVR-Decomposed #6 [R]",
        "Somebody who re-ran NSR finds its entropy, and its gain, only where a batch gives several updates and the clip is on.",
        "The authors answer that all their methods share those settings, and only NSR keeps its entropy under them.",
        "NSR with and without the clip, at 1, 4 and 16 updates that move as far per batch: what does the clip decide?",
        "`epsilon=0.2` (a very large `epsilon` and `epsilon_high` switch it off); updates per batch: `steps_per_generation`, "
        "`num_iterations`", "`actor.clip_ratio`; updates per batch: `data.train_batch_size` over `actor.ppo_mini_batch_size`"),
    "PRACTICE-P2": Dispute(
        "huggingface/trl #6367, PR #6365 [R]",
        "Answers of dead groups count in the loss's denominator and dilute it by a share that changes from step to step; leaving "
        "them out gains 2.4 points (GSM8K, Qwen2.5-1.5B, one run).",
        "A smaller denominator is a higher rate, and Adam erases a constant factor.",
        "The denominator over all and over mixed groups' tokens, where few and where many groups are dead, under Adam and SGD; "
        "beside it the old denominator at a higher rate.",
        "no option in 1.16: `loss_type=\"dapo\"` counts all tokens; a higher `learning_rate` is the rival",
        "`algorithm.filter_groups.enable=True` (DAPO's recipe) draws until no group is dead, so the question does not arise"),
    "PRACTICE-P3": Dispute(
        "huggingface/trl PR #7068, #5588 [A]",
        "With a divergence term a dead group has no advantage but still pulls towards the reference: mask it.",
        "The pull may be what the term is for; the PR is closed.",
        "GRPO with the term paid by all groups and by mixed ones only, three coefficients: accuracy, and distance from the base.",
        "`beta`; no option in 1.16 that masks dead groups", "`actor.use_kl_loss`, `actor.kl_loss_coef`; no mask"),
    "PRACTICE-P4": Dispute(
        "huggingface/trl PR #3138, open-instruct #636, verl #593, PR #2435 [R]",
        "Dividing by each answer's own length lets long wrong answers escape and ends in long gibberish; a constant denominator "
        "prevents it.", "Others see no difference.",
        "Three denominators under one advantage from a start that can ramble: the length of wrong answers, and who collapses at "
        "a high rate.",
        "`loss_type`: `\"grpo\"` (sequences), `\"bnpo\"` or `\"dapo\"` (tokens), `\"dr_grpo\"` (constant)",
        "`actor.loss_agg_mode`: `seq-mean-token-mean`, `token-mean`, `seq-mean-token-sum-norm`"),
    "PRACTICE-P5": Dispute(
        "huggingface/trl PR #3248, NeMo-RL PR #724, UniRL PR #19 [R]",
        "An answer that was cut off should be masked, which is steadier.",
        "Others count it as wrong, or judge what it had written.",
        "The three treatments at limits that cut 5 and 20 per cent of the base's answers, for GRPO and for NSR.",
        "`mask_truncated_completions`, `max_completion_length`",
        "`data.max_response_length`; softer: `reward_model.overlong_buffer` of DAPO's recipe"),
    "PRACTICE-P6": Dispute(
        "verl #2738, rllm #116 [R]",
        "A higher upper clip makes entropy rise late in training, and accuracy then falls.",
        "DAPO proposes it against the loss of entropy.",
        "Upper bounds of 0.2, 0.28 and 0.4 over three times the horizon, four updates per batch.",
        "`epsilon_high=0.28`", "`actor.clip_ratio_high=0.28`"),
    "PRACTICE-P7": Dispute(
        "TianHongZXY/RLVR-Decomposed #13 [R]",
        "Papers report the checkpoint that is best on the test set.",
        "Nothing that we know of.",
        "Choose on one half of the problems, read the value on the other: what does choosing seem to add, what does it add?",
        "`load_best_model_at_end` with an `eval_dataset` that is not the test set",
        "`trainer.save_freq`, `trainer.test_freq`; choose on files in `data.val_files` that are not reported"),
    "PRACTICE-P8": Dispute(
        "TianHongZXY/RLVR-Decomposed #23 [R]",
        "An independent replication of NSR with Qwen3-4B finds +6.0 points on MATH.",
        "The paper reports +11 for that model.",
        "Nothing here: another person's number beside ours and the paper's.",
        "the method `nsr`, by `MethodTrainer`", "`polarity.nsr`"),
    "PRACTICE-P9": Dispute(
        "Minimal-RL #8 [R]",
        "Removing right answers hurts more than removing wrong ones: the opposite of what NSR's authors find.",
        "Start, rate and formula differ between the two studies.",
        "Right only, wrong only and both, from a weak and a strong start, at each one's own rate, at one rate, by two formulas.",
        "the methods `psr` and `nsr`, by `MethodTrainer`", "`polarity.psr`, `polarity.nsr`"),
    "PRACTICE-P10": Dispute(
        "huggingface/trl #4689, slime #999, ms-swift #6978 and others [A]",
        "Dropping wrong answers that have become unlikely since they were drawn makes several updates per batch safe.",
        "The clip is there already.",
        "4 and 16 updates of one size, the clip alone and the mask beside it, with how many wrong answers it drops.",
        "`off_policy_mask_threshold` (nats per token)", "no option by polarity known to us in 0.9"),
    "PRACTICE-P11": Dispute(
        "TianHongZXY/RLVR-Decomposed #6, explained by arXiv 2509.26114 [A]",
        "The lower clip raises entropy, the upper one lowers it.",
        "On a tenth of a per cent of the tokens.",
        "GRPO with one side of the clip at a time.",
        "`epsilon` is the lower bound, `epsilon_high` the upper one", "`actor.clip_ratio_low`, `actor.clip_ratio_high`"),
}


def told(name: str) -> str:
    """A dispute as Markdown: who says what, and what would decide it."""
    d = DISPUTES[name]
    return (f"**{name.removeprefix('PRACTICE-')}. {CLAIMS[name].says}** ({d.threads})\n\n- *Said*: {d.said}\n"
            f"- *Against it, there or by us*: {d.doubted}\n- *What would decide it*: {d.decides}")


def advice(name: str, verdict: str, reason: str) -> str:
    """What to do there if our verdict carries over, as a line of Markdown."""
    d = DISPUTES[name]
    does = ADVICE.get(verdict, "nothing follows yet: keep what you have").format(says=CLAIMS[name].says.rstrip("."))
    return f"- **{name.removeprefix('PRACTICE-')}**: {verdict} ({reason}); {does}. TRL: {d.trl}. verl: {d.verl}."


ADVICE = {
    "replicated": "set it on purpose, for here it matters: {says}",
    "differs here": "do not count on it; here it went the other way",
    "no effect": "leave it at its default; within our margin it changed nothing",
    "depends on the rate": "tune the learning rate first, then look again",
    "depends on the definition": "say which formula you use, then look again",
}
