"""Which rows of a batch go through the policy together, and how: prompts once, short groups side by side, long ones apart."""

from torch import Tensor

from polarity_lib.policy import Packed, Policy, one_row_each, pack, pack_groups
from polarity_lib.rollouts import Rollouts

LONG_BUNDLE = 320  # positions; a group longer than this is laid out as several bundles, each with the prompt
SHORT_BUNDLE = 160  # positions such a part may have: attention costs the square of a bundle

Bundle = tuple[list[int], list[list[int]]]  # a prompt and its answers


def pack_rows(rollouts: Rollouts, rows: Tensor, policy: Policy) -> Packed:
    """Chosen rows as bundles: each prompt once, followed by its chosen answers. For a model that does not pack, a row each."""
    lengths = rollouts.mask_NT.sum(1).long().tolist()
    groups = rollouts.group_N.tolist()
    bundles, last = [], None
    for row in rows.nonzero()[:, 0].tolist():
        if groups[row] != last:
            bundles.append((rollouts.prompt_ids[row], []))
            last = groups[row]
        bundles[-1][1].append(rollouts.tokens_NT[row, : lengths[row]].tolist())
    if policy.groups and any(map(is_long, bundles)):
        return pack_groups(bundles)
    return pack([part for bundle in bundles for part in split_bundle(bundle)]) if policy.packs else one_row_each(bundles)


def is_long(bundle: Bundle) -> bool:
    """Whether a mask over the whole group would cost too much."""
    return len(bundle[0]) + sum(map(len, bundle[1])) > LONG_BUNDLE


def split_bundle(bundle: Bundle) -> list[Bundle]:
    """A long group as several bundles in the same order; a short one as it is."""
    if not is_long(bundle):
        return [bundle]
    (prompt, answers), parts, room = bundle, [], 0
    for answer in answers:
        if not parts or len(answer) > room:
            parts.append((prompt, []))
            room = SHORT_BUNDLE - len(prompt)
        parts[-1][1].append(answer)
        room -= len(answer)
    return parts
