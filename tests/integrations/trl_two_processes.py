"""One training run on given answers, by however many processes are started; writes the weights.

    ACCELERATE_USE_CPU=true torchrun --nproc-per-node 2 trl_two_processes.py OUT.pt FOLDER
"""

import os
import sys

import numpy as np
import torch
from trl_helpers import LONGEST, config_in, dataset, luck, sharp_policy, weights_of

from polarity_lib.integrations.trl import MethodTrainer


class Given(MethodTrainer):
    """Answers that depend on their place in the whole batch alone, since sampling differs from process to process."""

    def _generate(self, prompts):
        first = self.accelerator.process_index * len(prompts)
        answers = []
        for row in range(first, first + len(prompts)):
            rng = np.random.default_rng([self._step, row])
            answers.append(rng.integers(2, 26, rng.integers(2, LONGEST + 1)).tolist())
        ids = [self.processing_class(p)["input_ids"] for p in prompts]
        return ids, answers, None, self.processing_class.batch_decode(answers), None, {}, None, None


def main(out: str, folder: str) -> None:
    torch.set_num_threads(1)
    found = {}
    for name in ("nsr", "lens", "dr_grpo"):
        policy = sharp_policy()
        start = torch.cat([p.detach().flatten() for p in policy.model.parameters()])
        # Eight groups of four, on one process or on two.
        rows = 32 // int(os.environ.get("WORLD_SIZE", 1))
        trainer = Given(method=name, model=policy.model, reward_funcs=luck, train_dataset=dataset(),
                        processing_class=policy.tokenizer,
                        args=config_in(folder, per_device_train_batch_size=rows, gradient_accumulation_steps=1, max_steps=4,
                                       model_init_kwargs=None))
        trainer.train()
        found[name] = (start, weights_of(trainer), trainer.accelerator.num_processes)
    if trainer.accelerator.is_main_process:
        torch.save(found, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
