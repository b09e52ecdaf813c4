"""Methods that several papers compare with, and the protocol of the runs that they share."""

from polarity_lib.papers import Paper

PAPER = Paper(
    title="Baselines",
    about="REINFORCE, RLOO, PPO, GRPO, Dr. GRPO, DAPO, fork tokens, Lp-Reg, CISPO, GSPO, as papers or codes define them.",
)
