"""Small TRL trainers: a policy of the library, problems of countdown, a reward that needs no learning to vary."""

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from polarity_lib.integrations.trl import MethodTrainer
from polarity_lib.policy import build_policy
from polarity_lib.problems import world_named

LONGEST = 8  # tokens of an answer


def luck(completion_ids, **_):
    """1.0 for about every third answer; the same tokens always get the same."""
    return [float(sum(ids) % 3 == 0) for ids in completion_ids]


def signed_luck(completion_ids, **_):
    return [2 * right - 1 for right in luck(completion_ids)]


def sharp_policy():
    """A random policy that prefers some tokens, so that log-probabilities differ."""
    policy = build_policy("smoke", 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.nn.init.normal_(policy.model.lm_head.weight, std=0.2)
    return policy


def dataset(count: int = 8) -> Dataset:
    problems = world_named("countdown3").draw("train", count, 0)
    return Dataset.from_list([{"prompt": p.prompt, "answer": p.gold} for p in problems])


def config_in(folder, **changes) -> GRPOConfig:
    fields = {
        "per_device_train_batch_size": 8, "num_generations": 4, "gradient_accumulation_steps": 2, "num_iterations": 2,
        "max_completion_length": LONGEST, "max_steps": 4, "learning_rate": 0.5, "optim": "sgd", "max_grad_norm": 0.0,
        "lr_scheduler_type": "constant", "use_cpu": True, "bf16": False, "report_to": [], "save_strategy": "no",
        "logging_strategy": "no", "disable_tqdm": True, "seed": 1, "gradient_checkpointing": False,
        "model_init_kwargs": {"dtype": "float32"},
    }
    return GRPOConfig(output_dir=str(folder), **(fields | changes))


def trainer_in(folder, method=None, options=None, reward_funcs=luck, **changes):
    """Ours where a method is named, else TRL's own."""
    policy = sharp_policy()
    policy.save(folder / "policy")  # TRL reads a reference model from where the policy came from
    given = {"model": str(folder / "policy"), "reward_funcs": reward_funcs, "args": config_in(folder, **changes),
             "train_dataset": dataset(), "processing_class": policy.tokenizer}
    return MethodTrainer(method=method, options=options, **given) if method else GRPOTrainer(**given)


def weights_of(trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
