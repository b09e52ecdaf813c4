"""Sampling: by hand, against transformers, and independent of how rows are batched."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from polarity_lib.methods import collect_mixed, mixed_groups
from polarity_lib.policy import Policy, build_policy
from polarity_lib.problems import world_named
from polarity_lib.rollouts import (
    FastSampler, ModelSampler, Rollouts, choose_groups, join, make_sampler, next_prefixes, pick_tokens, uniforms,
)  # fmt: skip
from polarity_lib.training import ProblemStream
from polarity_lib.verification import Verdict

SAMPLERS = [FastSampler, ModelSampler]
both = pytest.mark.parametrize("sampler", SAMPLERS)
# Prompts of different lengths (countdown's 6 and chain's up to 18 characters), so padding is exercised.
PROBLEMS = world_named("countdown3").draw("train", 3, 0) + world_named("chain").draw("train", 3, 0)


def plain_logits(policy, rollouts, row):
    """Logits at every response token from one plain forward pass."""
    prompt = rollouts.prompt_ids[row]
    length = int(rollouts.mask_NT[row].sum())
    ids = torch.tensor([prompt + rollouts.tokens_NT[row, :length].tolist()])
    with torch.no_grad():
        return policy.model(ids).logits[0, len(prompt) - 1 : -1]


# ---------------------------------------------------------------- one token, by hand

LOGITS = torch.tensor([[0.5, 0.3, 0.2]]).log()
ROW = torch.tensor([0])


def picked(uniform, temperature=1.0, top_p=1.0, logits=LOGITS):
    token, logprob, entropy = pick_tokens(
        logits, ROW, None if uniform is None else torch.tensor([uniform]), temperature, top_p)  # fmt: skip
    return token.item(), logprob.item(), entropy.item()


def test_a_token_by_inverting_the_distribution():
    assert [picked(u)[0] for u in (0.0, 0.49, 0.51, 0.79, 0.81, 0.999)] == [0, 0, 1, 1, 2, 2]
    assert picked(0.6)[1] == pytest.approx(math.log(0.3))
    entropy = -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2))
    assert picked(0.6)[2] == pytest.approx(entropy)


def test_greedy_takes_the_likeliest_at_its_untempered_probability():
    assert picked(None, temperature=5.0)[:2] == (0, pytest.approx(math.log(0.5)))


def test_temperature_by_hand():
    # Squares 0.25, 0.09, 0.04 of the probabilities, normalised by 0.38.
    assert picked(0.25 / 0.38 + 0.01, temperature=0.5)[:2] == (1, pytest.approx(math.log(0.09 / 0.38)))


def test_the_nucleus_by_hand():
    # 0.5 does not reach 0.7, 0.5 + 0.3 does: the third token is out and 0.8 is spread over [0, 1).
    assert [picked(u, top_p=0.7)[0] for u in (0.0, 0.62, 0.63, 0.999)] == [0, 0, 1, 1]
    assert [picked(u, top_p=0.4)[0] for u in (0.0, 0.999)] == [0, 0]  # the first is enough
    assert picked(0.7, top_p=0.7)[1] == pytest.approx(math.log(0.3))  # of the whole distribution
    shuffled = torch.tensor([[0.2, 0.5, 0.3]]).log()
    assert [picked(u, top_p=0.7, logits=shuffled)[0] for u in (0.0, 0.62, 0.63, 0.999)] == [1, 1, 2, 2]


@given(
    st.lists(st.floats(-8, 8), min_size=2, max_size=6), st.floats(0, 1, exclude_max=True, width=32), st.floats(0.1, 1)
)
def test_no_draw_leaves_the_nucleus(logits, uniform, top_p):
    token, logprob, entropy = picked(uniform, top_p=top_p, logits=torch.tensor([logits]))
    probs = torch.tensor(logits).softmax(0)
    likelier = probs[probs > probs[token] + 1e-6].sum().item()
    assert likelier < top_p + 1e-5
    assert logprob <= 0 and -1e-6 <= entropy <= math.log(len(logits)) + 1e-5


# ---------------------------------------------------------------- the tree of prefixes


def test_prefixes_by_hand():
    # Rollouts 0-2 share row 0 and draw 7, 7, 8; rollout 3 on row 1 draws 7; rollout 4 has ended.
    where, token = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([7, 7, 8, 7, 1])
    parents, tokens, where = next_prefixes(where, token, torch.tensor([True, True, True, True, False]), rows=2)
    assert parents.tolist() == [0, 0, 1] and tokens.tolist() == [7, 8, 7]
    assert where[:4].tolist() == [0, 0, 1, 2]


def test_rows_stay_where_they_are_when_nothing_branches():
    alive = torch.tensor([True, True])
    parents, tokens, where = next_prefixes(torch.tensor([0, 1]), torch.tensor([5, 6]), alive, rows=2)
    assert parents is None and tokens.tolist() == [5, 6] and where.tolist() == [0, 1]


def naive(policy, problems, group_size, seed, limit, temperature, top_p):
    """One rollout at a time, the whole prefix recomputed for every token."""
    numbers, texts = uniforms(seed, problems, group_size, limit), []
    for i, problem in enumerate(p for p in problems for _ in range(group_size)):
        prompt, answer = policy.encode(problem.prompt), []
        while len(answer) < limit and answer[-1:] != [policy.tokenizer.eos_token_id]:
            with torch.no_grad():
                logits = policy.model(torch.tensor([prompt + answer])).logits[:, -1]
            answer.append(pick_tokens(logits, ROW, numbers[i, len(answer)][None], temperature, top_p)[0].item())
        texts.append(policy.decode(answer))
    return texts


@both
@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.9)])
def test_sampling_a_tree_equals_sampling_one_by_one(policy, sampler, temperature, top_p):
    rollouts = sampler(policy, temperature=temperature, top_p=top_p, max_new_tokens=10).sample(PROBLEMS, 4, "tree")
    assert rollouts.texts == naive(policy, PROBLEMS, 4, "tree", 10, temperature, top_p)


# ---------------------------------------------------------------- against transformers


@both
def test_greedy_tokens_equal_generate(policy, sampler):
    rollouts = sampler(policy, greedy=True, max_new_tokens=12).sample(PROBLEMS, 1, "unused")
    for row, prompt in enumerate(rollouts.prompt_ids):
        length = int(rollouts.mask_NT[row].sum())
        expected = policy.model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), do_sample=False, max_new_tokens=12)
        assert rollouts.tokens_NT[row, :length].tolist() == expected[0, len(prompt) :].tolist()


@both
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_and_entropies_equal_a_plain_forward_pass(policy, sampler, temperature):
    rollouts = sampler(policy, temperature=temperature).sample(PROBLEMS, 4, "numbers")
    for row in range(len(rollouts)):
        logs = (plain_logits(policy, rollouts, row) / temperature).log_softmax(-1)
        T = len(logs)
        chosen = logs.gather(1, rollouts.tokens_NT[row, :T, None])[:, 0]
        assert torch.allclose(rollouts.logprobs_NT[row, :T], chosen, atol=1e-4)
        assert torch.allclose(rollouts.entropies_NT[row, :T], -(logs.exp() * logs).sum(-1), atol=1e-4)


def test_first_tokens_follow_the_softmax(policy):
    problem, count = PROBLEMS[0], 4000
    rollouts = make_sampler(policy, max_new_tokens=1).sample([problem], count, "chi-square")
    expected = plain_logits(policy, rollouts, 0)[0].softmax(-1).double() * count
    seen = torch.bincount(rollouts.tokens_NT[:, 0], minlength=len(expected)).double()
    common = expected >= 5  # the usual rule; rare tokens are pooled
    observed, wanted = ([*x[common].tolist(), x[~common].sum().item()] for x in (seen, expected))
    assert stats.chisquare(observed, [w * count / sum(wanted) for w in wanted]).pvalue > 0.01


# ---------------------------------------------------------------- the record


@both
def test_the_record_is_consistent(policy, sampler):
    rollouts = sampler(policy, max_new_tokens=6).sample(PROBLEMS, 5, "record")
    eos, lengths = policy.tokenizer.eos_token_id, rollouts.mask_NT.sum(1).long()
    assert rollouts.drawn == len(rollouts) == 30 and rollouts.max_new_tokens == 6
    assert rollouts.group_N.tolist() == [g for g in range(6) for _ in range(5)]
    assert [p.prompt for p in rollouts.problems[::5]] == [p.prompt for p in PROBLEMS]
    for row, length in enumerate(lengths.tolist()):
        tokens = rollouts.tokens_NT[row, :length].tolist()
        assert rollouts.mask_NT[row].tolist() == [1.0] * length + [0.0] * (rollouts.mask_NT.shape[1] - length)
        assert bool(rollouts.finished_N[row]) == (tokens[-1] == eos)
        assert eos not in tokens[:-1]
        assert rollouts.finished_N[row] or length == 6
        assert rollouts.texts[row] == policy.decode(tokens)
    assert 0 < rollouts.finished_N.sum() < 30  # both kinds occur, or this test shows little
    assert (rollouts.logprobs_NT[rollouts.mask_NT == 0] == 0).all()


@both
def test_rows_do_not_depend_on_their_company(policy, sampler):
    whole = sampler(policy, rows=1024).sample(PROBLEMS, 4, "seed")
    assert whole.texts == sampler(policy, rows=1024).sample(PROBLEMS, 4, "seed").texts
    assert whole.texts == sampler(policy, rows=4).sample(PROBLEMS, 4, "seed").texts
    assert whole.texts != sampler(policy).sample(PROBLEMS, 4, "other seed").texts


def test_both_samplers_draw_the_same(policy):
    fast, general = (s(policy).sample(PROBLEMS, 8, "same") for s in SAMPLERS)
    assert fast.texts == general.texts and torch.equal(fast.mask_NT, general.mask_NT)
    assert torch.allclose(fast.logprobs_NT, general.logprobs_NT, atol=1e-4)


def test_the_fast_sampler_reads_the_norms(policy):
    # Fresh norms are all ones and would hide a scale that is left out.
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in policy.model.named_parameters():
            if "norm" in name:
                p.uniform_(0.5, 1.5)
    fast, general = (s(policy).sample(PROBLEMS, 2, "norms") for s in SAMPLERS)
    assert fast.texts == general.texts


def test_other_shapes_take_the_general_sampler():
    policy = build_policy("smoke", 0)
    assert isinstance(make_sampler(policy), FastSampler)
    policy.model.config.num_key_value_heads = 1
    assert isinstance(make_sampler(Policy(policy.model, policy.tokenizer)), ModelSampler)


# ---------------------------------------------------------------- joining and choosing


def hand_made(lengths, rights, problems=None, drawn=None) -> Rollouts:
    """Groups of two. Row n has lengths[n] tokens, all of them n + 1, at log-probability -(n + 1)."""
    N, T = len(lengths), max(lengths)
    mask = (torch.arange(T)[None] < torch.tensor(lengths)[:, None]).float()
    number = torch.arange(1.0, N + 1)[:, None] * mask
    problems = problems or [PROBLEMS[n // 2] for n in range(N)]
    return Rollouts(
        problems=problems, group_N=torch.arange(N) // 2, prompt_ids=[[n // 2] for n in range(N)],
        tokens_NT=number.long(), mask_NT=mask, logprobs_NT=-number, entropies_NT=0.1 * number,
        finished_N=torch.tensor([n % 2 == 0 for n in range(N)]), texts=[f"row {n}" for n in range(N)],
        verdicts=[Verdict("correct" if r else "wrong", None, "", "by hand") for r in rights],
        drawn=drawn or N, max_new_tokens=9)


def test_batches_are_joined_by_hand():
    first, second = hand_made([2, 1, 3, 3], [1, 0, 0, 0]), hand_made([5, 4], [0, 1], drawn=10)
    whole = join([first, second])
    assert whole.group_N.tolist() == [0, 0, 1, 1, 2, 2] and whole.drawn == 14 and whole.max_new_tokens == 9
    assert whole.mask_NT.sum(1).tolist() == [2, 1, 3, 3, 5, 4] and whole.mask_NT.shape == (6, 5)
    assert whole.tokens_NT[:3].tolist() == [[1, 1, 0, 0, 0], [2, 0, 0, 0, 0], [3, 3, 3, 0, 0]]  # padded with zeros
    assert (whole.logprobs_NT[whole.mask_NT == 0] == 0).all() and whole.logprobs_NT[4].tolist() == [-1.0] * 5
    assert torch.equal(whole.entropies_NT, -0.1 * whole.logprobs_NT)
    assert whole.texts == first.texts + second.texts and whole.problems == first.problems + second.problems
    assert whole.correct_N.tolist() == [True, False, False, False, False, True]
    assert whole.finished_N.tolist() == [True, False] * 3 and whole.prompt_ids == [[0], [0], [1], [1], [0], [0]]


def test_groups_are_chosen_by_hand():
    whole = hand_made([2, 1, 5, 5, 3, 1], [1, 0, 0, 0, 0, 1])
    chosen = choose_groups(whole, [0, 2])
    assert chosen.group_N.tolist() == [0, 0, 1, 1] and chosen.drawn == 6  # what was thrown away stays counted
    assert chosen.texts == ["row 0", "row 1", "row 4", "row 5"] and chosen.prompt_ids == [[0], [0], [2], [2]]
    assert chosen.mask_NT.tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0]]  # no wider than it must be
    assert chosen.tokens_NT[2].tolist() == [5, 5, 5] and chosen.logprobs_NT[3].tolist() == [-6, 0, 0]
    assert chosen.correct_N.tolist() == [True, False, False, True] and len(chosen.problems) == 4
    assert choose_groups(whole.but(verdicts=[]), [1]).verdicts == []  # not judged yet
    everything = choose_groups(whole, [0, 1, 2])
    assert everything.texts == whole.texts and torch.equal(everything.logprobs_NT, whole.logprobs_NT)
    with pytest.raises(ValueError, match="at least one group"):
        choose_groups(whole, [])


def test_joining_what_was_sampled_apart_is_sampling_it_together(policy):
    sampler = make_sampler(policy)
    parts = [sampler.sample(PROBLEMS[:3], 2, "one"), sampler.sample(PROBLEMS[3:], 2, "two")]
    whole = join(parts)
    for g in range(6):
        part, row = parts[g // 3], 2 * (g % 3)
        length = int(part.mask_NT[row].sum())
        assert whole.texts[2 * g] == part.texts[row]
        assert whole.tokens_NT[2 * g, :length].tolist() == part.tokens_NT[row, :length].tolist()
    assert whole.mask_NT.sum() == sum(p.mask_NT.sum() for p in parts)


# ---------------------------------------------------------------- dynamic sampling

POOL = world_named("chain").draw("train", 20, 0)


class Scripted:
    """A sampler whose groups of two are mixed for some problems only; it notes how often it was asked."""

    def __init__(self, mixed):
        self.mixed, self.asked = mixed, []

    def sample(self, problems, group_size, seed):
        assert group_size == 2
        self.asked.append((seed, [p.key for p in problems]))
        texts = [text for p in problems for text in (f"#{p.gold}" if p.key in self.mixed else "#", "#")]
        rollouts = hand_made([3, 1] * len(problems), [0, 0] * len(problems), [p for p in problems for _ in range(2)])
        return rollouts.but(texts=texts, verdicts=[], finished_N=torch.ones(len(texts), dtype=torch.bool))


def collected(mixed, prompts=4, rounds=10):
    """A batch by dynamic sampling from POOL in the stream's order: rollouts, sampler, keys drawn."""
    sampler, stream = Scripted(mixed), ProblemStream(POOL, seed=0)
    rollouts = collect_mixed(rounds)(sampler, stream, prompts, 2, "7/train/3")
    drawn = [key for _, keys in sampler.asked for key in keys]
    assert drawn == [p.key for p in ProblemStream(POOL, seed=0).take(len(drawn))] and stream.position == len(drawn)
    return rollouts, sampler, drawn


def test_dynamic_sampling_keeps_only_mixed_groups_where_it_can():
    order = [p.key for p in ProblemStream(POOL, seed=0).take(20)]
    mixed = set(order[1::2])  # every second: two rounds of four give the four groups wanted
    rollouts, sampler, drawn = collected(mixed)
    assert [p.key for p in rollouts.problems[::2]] == [k for k in drawn if k in mixed] == order[1:8:2]
    assert mixed_groups(rollouts) == [0, 1, 2, 3] and rollouts.correct_N.tolist() == [True, False] * 4
    assert len(rollouts) == 8 and rollouts.drawn == 16  # what was thrown away is counted
    assert [seed for seed, _ in sampler.asked] == ["7/train/3/round/0", "7/train/3/round/1"]  # other draws each round


def test_dynamic_sampling_stops_when_it_has_enough():
    rollouts, sampler, drawn = collected({p.key for p in POOL})
    assert len(sampler.asked) == 1 and rollouts.drawn == len(rollouts) == 8
    rollouts, sampler, drawn = collected(set(drawn[:3]) | {p.key for p in POOL if p.key not in drawn})
    assert len(sampler.asked) == 2 and rollouts.drawn == 16 and len(rollouts) == 8  # one short, seven at hand: four are kept
    assert [p.key for p in rollouts.problems[::2]] == drawn[:3] + [sampler.asked[1][1][0]]


@pytest.mark.parametrize("rounds", [1, 3])
def test_dynamic_sampling_fills_up_with_uniform_groups_and_gives_up_after_its_rounds(rounds):
    rollouts, sampler, drawn = collected(set(), rounds=rounds)
    assert len(sampler.asked) == rounds and rollouts.drawn == 8 * rounds
    assert [p.key for p in rollouts.problems[::2]] == drawn[:4] and mixed_groups(rollouts) == []
    order = [p.key for p in ProblemStream(POOL, seed=0).take(20)]
    late = order[4 * rounds - 1]  # the only mixed group comes last
    rollouts, sampler, drawn = collected({late}, rounds=rounds)
    assert [p.key for p in rollouts.problems[::2]] == drawn[:3] + [late] and mixed_groups(rollouts) == [3]
    assert rollouts.group_N.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and len(sampler.asked) == rounds


def test_the_same_seed_collects_the_same_batch(policy):
    def batch(seed):
        pool = world_named("countdown3").draw("train", 12, 0)
        return collect_mixed(3)(make_sampler(policy), ProblemStream(pool, 0), 4, 8, seed)

    first, again, other = batch("a"), batch("a"), batch("b")
    assert first.texts == again.texts and first.drawn == again.drawn and torch.equal(first.logprobs_NT, again.logprobs_NT)
    assert first.texts != other.texts and first.drawn in (32, 64, 96) and len(first) == 32
    if first.drawn < 96:
        assert mixed_groups(first) == [0, 1, 2, 3]
