"""Train any causal model with one of our methods in TRL, on questions of arithmetic.

    python docs/examples/trl_method.py MODEL METHOD OUTPUT [STEPS]

MODEL is a hub name or a folder, METHOD a name such as nsr, a3po or lens.
"""

import sys

import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig

from polarity_lib.integrations.rewards import math_reward
from polarity_lib.integrations.trl import MethodTrainer

model, method, output, steps = (*sys.argv[1:], "100")[:4]
questions = Dataset.from_list([{"prompt": f"{a}+{b}=", "answer": str(a + b)} for a in range(2, 12) for b in range(2, 12)])

trainer = MethodTrainer(
    method=method,
    model=model,
    processing_class=AutoTokenizer.from_pretrained(model),
    reward_funcs=math_reward,
    train_dataset=questions,
    args=GRPOConfig(
        output_dir=output, max_steps=int(steps), per_device_train_batch_size=8, num_generations=8,
        gradient_accumulation_steps=2, max_completion_length=64, learning_rate=1e-6, report_to=[],
        bf16=torch.cuda.is_available(), use_cpu=not torch.cuda.is_available()),
)
trainer.train()
trainer.save_model(output)
