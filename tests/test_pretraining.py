"""Base policies: made from a seed, cached, remade when a file is damaged."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from polarity_lib import pretraining
from polarity_lib.config import ConfigError, StartConfig
from polarity_lib.policy import build_policy
from polarity_lib.pretraining import CORPORA, _pack_texts, _rate, base_policy, read_mixture, told_mixture, write_texts
from polarity_lib.problems import WORLDS
from polarity_lib.problems.chain import read_question
from polarity_lib.results import RunFolder

SHORT = StartConfig("countdown", "smoke", steps=2, seed=0, batch=4)


def weights(policy):
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def test_the_rate_by_hand():
    start = StartConfig("countdown", "smoke", steps=100, seed=0, rate=1.0)
    assert [_rate(step, start) for step in (0, 4)] == pytest.approx([0.2, 1.0])  # warm-up over five steps
    assert _rate(5, start) == pytest.approx(1.0)
    assert _rate(52, start) == pytest.approx(0.5 * (1 + math.cos(math.pi * 47 / 95)))
    assert 0 < _rate(99, start) < 1e-3


def test_only_answers_and_their_end_are_learned():
    policy = build_policy("smoke", 0)
    packed = _pack_texts(policy, [("12>3:", "1+2"), ("9:", "9")])
    eos = policy.tokenizer.eos_token_id
    assert packed.targets_M.tolist() == [*policy.encode("1+2"), eos, *policy.encode("9"), eos]


def test_a_seed_decides_a_base_policy(tmp_path):
    first, again = (base_policy(SHORT, root=tmp_path / name) for name in ("a", "b"))
    other = base_policy(replace(SHORT, seed=1), root=tmp_path)
    assert torch.equal(weights(first), weights(again)) and not torch.equal(weights(first), weights(other))


def test_a_stopped_warm_start_ends_as_if_never_stopped(tmp_path, monkeypatch, capsys):
    start, save = replace(SHORT, steps=4), RunFolder.save_checkpoint
    whole = weights(base_policy(start, root=tmp_path / "whole"))
    monkeypatch.setattr(pretraining, "CHECKPOINT_EVERY", 1)

    def save_and_stop(folder, payload):
        save(folder, payload)
        if payload["step"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "save_checkpoint", save_and_stop)
        base_policy(start, root=tmp_path)
    assert torch.equal(weights(base_policy(start, root=tmp_path)), whole)
    assert "continues at step 2 of 4" in capsys.readouterr().err
    assert not (tmp_path / start.name / "checkpoint.pt").exists()


def test_mixtures_of_a_last_phase_share_what_comes_before(tmp_path, capsys):
    starts = [StartConfig("latent", "smoke", steps=5, seed=0, batch=4, mixture=mixture)
              for mixture in ((), (("checked", 1.0),), (("noisy", 1.0),))]
    alone = [weights(base_policy(start, root=tmp_path / str(i))) for i, start in enumerate(starts)]
    assert "continues" not in capsys.readouterr().err and not torch.equal(alone[0], alone[1])
    for start, expected in zip(starts, alone):
        assert torch.equal(weights(base_policy(start, root=tmp_path)), expected)
    assert capsys.readouterr().err.count("continues at step 3 of 5") == 2  # 0.6 of five steps


def test_a_base_policy_is_made_once_and_again_when_damaged(tmp_path, capsys):
    made = weights(base_policy(SHORT, root=tmp_path))
    file = tmp_path / SHORT.name / "weights.pt"
    written = file.stat().st_mtime_ns
    assert torch.equal(weights(base_policy(SHORT, root=tmp_path)), made) and file.stat().st_mtime_ns == written
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1  # one flipped bit
    for damaged in (bytes(raw), raw[: len(raw) // 2], b""):
        file.write_bytes(damaged)
        assert torch.equal(weights(base_policy(SHORT, root=tmp_path)), made)
        assert "damaged (its checksum does not fit); the base policy is made again" in capsys.readouterr().err


def test_what_is_unknown_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'countdown'"):
        base_policy(StartConfig("countdow", "smoke", 2, 0), root=tmp_path)
    with pytest.raises(ConfigError, match="Unknown policy size"):
        base_policy(StartConfig("countdown", "huge", 2, 0), root=tmp_path)


def test_every_world_names_a_corpus_and_its_phases_cover_the_warm_start():
    assert {world.corpus for world in WORLDS.values()} <= set(CORPORA)
    for corpus in CORPORA.values():
        ends = [end for end, _ in corpus.phases]
        assert ends == sorted(set(ends)) and ends[-1] == 1.0


def test_a_phase_ends_where_it_says(monkeypatch):
    corpus = CORPORA["chain_latent"]
    (end, first), (_, last) = corpus.phases
    monkeypatch.setitem(CORPORA, "chain_latent", replace(corpus, write=lambda count, rng, styles, **problems: (count, styles)))
    start = StartConfig("chain_latent", "smoke", steps=1000, seed=0, batch=4)
    at = [write_texts(start, step, None) for step in (0, round(1000 * end) - 1, round(1000 * end), 999)]
    assert at == [(4, first), (4, first), (4, last), (4, last)]


def test_a_mixture_is_written_and_read():
    mixture = (("worked", 0.75), ("checked", 0.1 + 0.2))
    assert told_mixture(mixture[:1]) == "worked=0.75" and read_mixture("") == ()
    assert read_mixture(told_mixture(mixture)) == mixture
    for text in ("worked", "worked=much", "worked=0", "worked=0.5,checked=-1"):
        with pytest.raises(ConfigError, match="weights above zero"):
            read_mixture(text)


def test_the_mixture_is_a_dial_of_the_last_phase():
    start = StartConfig("latent", "smoke", steps=10, seed=0, batch=400)
    rare = replace(start, mixture=(("direct", 0.995), ("worked", 0.005)))

    def worked(start, step):
        return np.mean(["=" in answer for _, answer in write_texts(start, step, np.random.default_rng(0))])

    assert worked(start, 0) == worked(rare, 0) == 1.0  # the first phase, in which the accurate way is learned
    assert 0.02 < worked(start, 9) < 0.09 and worked(rare, 9) < 0.02
    assert rare.name != start.name


def test_short_chains_may_have_styles_of_their_own():
    """In world rare: half of the shortest are worked out, one in a hundred of the others, once all have been learned."""
    start, corpus = StartConfig("rare_long", "smoke", steps=10, seed=0, batch=2000), CORPORA["rare_long"]
    limit, styles = corpus.short

    def worked(step):
        texts = write_texts(start, step, np.random.default_rng(0))
        short = ["=" in answer for prompt, answer in texts if len(read_question(prompt)) - 1 <= limit]
        long = ["=" in answer for prompt, answer in texts if len(read_question(prompt)) - 1 > limit]
        assert min(len(short), len(long)) > 100
        return np.mean(short), np.mean(long)

    assert worked(0) == (1.0, 1.0)
    assert worked(9) == pytest.approx((styles["worked"], corpus.phases[-1][1]["worked"]), abs=0.07)
    assert worked(9)[1] < 0.03
