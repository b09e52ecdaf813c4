"""How the neighbours look in every figure: (label, colour, dashes)."""

STYLES = {
    "maxrl": ("MaxRL", "#4B6A88", (0, (5, 1))),
    "f_grpo": ("F-GRPO", "#88A04B", (0, (5, 1))),
    "qae": ("QAE", "#B8860B", (0, (3, 1))),
    "rl_zvp": ("RL-ZVP", "#8C564B", (0, (3, 1))),
    "aspo": ("ASPO", "#E377C2", (0, (1, 1))),
    "cw_nsr": ("CW-NSR", "#7F3C8D", (0, (3, 1, 1, 1))),
}
