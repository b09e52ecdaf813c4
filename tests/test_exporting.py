"""What a run trained leaves with its method's name, and reads again as the model that was trained."""

import json

import pytest
import torch

from polarity_lib import exporting
from polarity_lib.__main__ import main
from polarity_lib.config import ConfigError, ModelConfig, RunConfig, StartConfig
from polarity_lib.exporting import export
from polarity_lib.loading import load_policy
from polarity_lib.models import read_policy
from polarity_lib.results import RunFolder
from polarity_lib.training import train


@pytest.fixture
def checkpoint(policy, tmp_path):
    policy.save(tmp_path / "model")
    return str(tmp_path / "model")


def trained(checkpoint, root, steps=2, **served):
    start = StartConfig("", "", 0, 0, model=ModelConfig(checkpoint, **served))
    config = RunConfig("w_reinforce", "countdown3", start, 0, steps, 1e-2, options=(("positive_weight", 0.2),),
                       prompts_per_step=4, rollouts_per_prompt=4, pool_size=16, curve_every=2, curve_problems=2, curve_samples=2,
                       final_problems=2, final_samples=2)
    train(config, RunFolder(config.name, config.identity, root), "cpu")
    return config


@pytest.mark.parametrize("rank", [0, 2])
def test_a_trained_model_goes_out_with_its_card(rank, checkpoint, own_runs, tmp_path, capsys):
    pytest.importorskip("peft")
    config = trained(checkpoint, own_runs, lora_rank=rank)
    kept = own_runs / config.name / "trained"
    assert (kept / ("adapter_model.safetensors" if rank else "model.safetensors")).exists()
    assert main(["export", config.name, str(tmp_path / "out")]) == 0
    out = tmp_path / "out"
    assert capsys.readouterr().out.strip() == str(out)
    origin, card = json.loads((out / "polarity.json").read_text()), (out / "README.md").read_text()
    assert origin["method"] == "w_reinforce" and origin["options"] == {"positive_weight": 0.2} and origin["run"] == config.name
    assert card.startswith("---\nbase_model: ") and "trained with the method `w_reinforce`" in card
    assert "positive_weight = 0.2" in card and "arXiv 2506.01347" in card and "| test/pass@1 |" in card
    # What transformers reads there is what was trained: not the start, and the adapter's own numbers.
    ids = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        new, old = load_policy(str(out)).model(ids).logits, load_policy(checkpoint).model(ids).logits
        how = ModelConfig(checkpoint, adapter=str(kept)) if rank else ModelConfig(str(kept))
        own = read_policy(how).model(ids).logits
    assert torch.allclose(new, own, atol=1e-4) and not torch.allclose(new, old, atol=1e-3)


def test_nothing_trained_nothing_kept(checkpoint, own_runs, tmp_path):
    config = trained(checkpoint, own_runs, steps=0)
    assert not (own_runs / config.name / "trained").exists()
    with pytest.raises(ConfigError, match="holds no trained model"):
        export(config.name, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    config = trained(checkpoint, own_runs)
    with pytest.raises(ConfigError, match="is there already"):
        export(str(own_runs / config.name), tmp_path / "full")


def test_a_run_killed_while_its_model_is_written_goes_on(checkpoint, own_runs, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "origin_of", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(checkpoint, own_runs)
    folder = next(own_runs.glob("*-s0-*"))
    assert (folder / ".trained.part").is_dir() and not (folder / "trained").exists()
    run = RunFolder(folder.name, {}, own_runs)
    with run.lock():
        assert not (folder / ".trained.part").exists()
    trained(checkpoint, own_runs)
    assert (folder / "trained" / "polarity.json").exists() and run.load() is not None
