"""How the baselines look in every figure: (label, colour, dashes). Colours are Okabe and Ito's, then Paul Tol's muted ones."""

from polarity_lib.plots import BASE

STYLES = {
    "base": ("base", BASE, (0, (4, 2))),
    "grpo": ("GRPO", "#0072B2"),
    "reinforce": ("REINFORCE", "#E69F00"),
    "reinforce_baseline": ("REINFORCE, baseline", "#B8860B"),
    "w_reinforce": ("W-REINFORCE", "#CC79A7", (0, (5, 1, 1, 1))),
    "ppo": ("PPO", "#56B4E9"),
    "rloo": ("RLOO", "#7A5195"),
    "dr_grpo": ("Dr. GRPO", "#003F5C"),
    "dapo": ("DAPO", "#44AA99", (0, (3, 1.5))),
    "dapo_fork": ("DAPO, fork tokens", "#882255", (0, (1, 1))),
    "lp_reg": ("Lp-Reg", "#999933", (0, (3, 1, 1, 1, 1, 1))),
    "cispo": ("CISPO", "#6699CC"),
    "gspo": ("GSPO", "#AA7744"),
}
