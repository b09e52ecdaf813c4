"""Our own instrument: which worlds may judge methods, and how finely (notebook 04)."""

from polarity_lib.papers import Paper

PAPER = Paper(
    title="The instrument",
    about="A world may judge methods once its base policy and GRPO alone have shown, on validation seeds, that it can "
    "tell them apart: they move, they generalise, a known handicap is seen and a mere change of luck is not.",
    notebooks=("04",),
)
