"""TRL's GRPOTrainer with our methods by name.

    trainer = MethodTrainer(method="nsr", model=..., reward_funcs=..., args=GRPOConfig(...), train_dataset=...)

TRL samples, asks the reward functions, spreads the work over devices and saves; the method decides which rows are kept,
what each token's advantage is, and the loss. The loss of an optimizer step is divided by counts of that whole step, over
accumulated batches and all processes, so splitting it changes nothing.

Right, for a method, is a row whose rewards add up to more than `right_above`.
"""

import dataclasses

import torch
from accelerate.utils import gather_object
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from polarity_lib import diagnostics
from polarity_lib.config import ConfigError
from polarity_lib.integrations.shared import as_rollouts, borrowed
from polarity_lib.methods import Method, Progress, in_force, rows_kept
from polarity_lib.objectives import BatchCounts

# What the method decides in place of TRL's settings; one that was changed would be silently ignored.
DECIDED = ("beta", "epsilon", "epsilon_high", "delta", "loss_type", "scale_rewards", "importance_sampling_level",
           "top_entropy_quantile", "off_policy_mask_threshold", "entropy_coef", "use_adaptive_entropy",
           "multi_objective_aggregation", "use_bias_correction_kl")


def check_settings(args: GRPOConfig, name: str) -> None:
    """Refuse settings that would be ignored or that split a step where its counts are not known.

    Raises:
        ConfigError: names the setting.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(GRPOConfig)}
    for setting in DECIDED:
        # Where nothing was given, TRL puts the lower bound in place of the upper one.
        default = args.epsilon if setting == "epsilon_high" else defaults.get(setting)
        if getattr(args, setting, None) != default and getattr(args, setting, None) is not None:
            raise ConfigError(f"{setting} is decided by the method {name!r}; leave it out of GRPOConfig, "
                              "and give the method's own options instead.")
    if args.steps_per_generation % args.gradient_accumulation_steps:
        raise ConfigError(f"gradient_accumulation_steps {args.gradient_accumulation_steps} must divide steps_per_generation "
                          f"{args.steps_per_generation}: an optimizer step may not reach over two batches of rollouts.")


class MethodTrainer(GRPOTrainer):
    """GRPOTrainer whose advantage, kept rows and loss are those of a method.

    Args:
        method: its name; docs/methods_where.md lists those that can run here.
        options: of the method.
        right_above: a row is right if its rewards add up to more than this.

    Raises:
        ConfigError: an unknown method or option, one that cannot run here, or a setting that the method decides.
    """

    def __init__(self, *args, method: str, options: dict | None = None, right_above: float = 0.5, **settings):
        self.method, self.right_above = borrowed(method, options), right_above
        config = settings.get("args")
        if config is None:
            raise ConfigError("give args=GRPOConfig(...).")
        check_settings(config, method)
        # TRL keeps a reference model only where beta is above zero; its own use of beta is replaced below.
        config.beta = 1.0 if "reference_logprobs" in self.method.needs else 0.0
        super().__init__(*args, **settings)
        if self.aux_loss_enabled:
            raise ConfigError("the auxiliary loss of a mixture of experts is not added here; set router_aux_loss_coef to 0.")

    @property
    def updates_per_batch(self) -> int:
        """Optimizer steps that one batch of rollouts gives."""
        return self.args.steps_per_generation * self.num_iterations // self.args.gradient_accumulation_steps

    def _calculate_rewards(self, *args, **options):
        self._paid = super()._calculate_rewards(*args, **options)  # [all processes' rows, reward functions]
        return self._paid

    def _generate_and_score_completions(self, inputs):
        """TRL's rollouts with the method's advantages; every process computes those of all, and keeps its own."""
        output = super()._generate_and_score_completions(inputs)
        mask_NT = output["completion_mask"] * output.get("tool_mask", 1)
        old_NT, entropies_NT, logs_NTV = self._before_update(output)
        rollouts = self._all_rollouts(inputs, output, mask_NT, old_NT, entropies_NT)
        method = self._in_force()
        rewards_N = method.reward(rollouts)
        keep_N = rows_kept(method, rewards_N, rollouts.group_N)
        advantages_NT = method.advantage(rollouts, rewards_N, self._progress()) * keep_N[:, None]
        mine = slice(self.accelerator.process_index * len(inputs), (self.accelerator.process_index + 1) * len(inputs))
        device, T = mask_NT.device, mask_NT.shape[1]
        output["advantages"] = advantages_NT[mine, :T].to(device)
        output["keep"] = keep_N[mine].to(device)
        if self.updates_per_batch > 1 or self.use_vllm:
            output["old_per_token_logps"] = old_NT
        if logs_NTV is not None:
            output["old_distributions"] = logs_NTV
        self._record(rollouts, advantages_NT)
        return output

    @torch.no_grad()
    def _before_update(self, output) -> tuple[Tensor, Tensor, Tensor | None]:
        """Log-probabilities, entropies and, where asked for, whole distributions under the policy that samples."""
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], 1)
        T, rows = output["completion_ids"].shape[1], self.args.per_device_train_batch_size
        images = {k: output.get(k) for k in IMAGES}
        old_NT, entropies_NT, _ = self._get_per_token_logps_and_entropies(
            self.model, ids, mask, T, batch_size=rows, compute_entropy=True, **images)
        if "old_distributions" not in self.method.needs:
            return old_NT, entropies_NT, None
        logs = [(self.model(input_ids=i, attention_mask=m).logits[:, -T - 1 : -1].float() / self.temperature).log_softmax(-1)
                for i, m in zip(ids.split(rows), mask.split(rows))]
        return old_NT, entropies_NT, torch.cat(logs)

    def _all_rollouts(self, inputs, output, mask_NT, old_NT, entropies_NT):
        """The record of all processes' rows, in TRL's order: groups stand together."""
        def gathered(x, pad=0):
            return self.accelerator.gather(self.accelerator.pad_across_processes(x.contiguous(), dim=1, pad_index=pad))

        group_size = self.num_generations if self.model.training else self.num_generations_eval
        tokens_NT = gathered(output["completion_ids"], self._tokenizer.pad_token_id)
        paid_N = (self._paid * self.reward_weights.to(self._paid.device)).nansum(1)
        ends = torch.tensor(self.eos_token_ids, device=tokens_NT.device)
        return as_rollouts(
            right_N=(paid_N > self.right_above).cpu(), group_N=torch.arange(len(paid_N)) // group_size,
            mask_NT=gathered(mask_NT), logprobs_NT=gathered(old_NT), entropies_NT=gathered(entropies_NT),
            max_new_tokens=self.max_completion_length, keys=gather_object([str(x.get("prompt")) for x in inputs]),
        ).but(tokens_NT=tokens_NT.cpu(), finished_N=torch.isin(tokens_NT, ends).any(1).cpu())

    def _progress(self) -> Progress:
        per_batch = self.args.steps_per_generation * self.num_iterations
        return Progress(self._step // per_batch, max(1, self.state.max_steps // self.updates_per_batch), self.updates_per_batch)

    def _in_force(self) -> Method:
        """The method of this batch of rollouts: a schedule's, where the run stands."""
        return in_force(self.method, self._progress())

    def _record(self, rollouts, advantages_NT) -> None:
        """Our metrics beside TRL's, and our advantages in its table of completions."""
        mode = "train" if self.model.training else "eval"
        found = diagnostics.describe_advantages(advantages_NT, rollouts.mask_NT, rollouts.correct_N)
        found["signal/unscored"] = float(self._paid.isnan().all(1).float().mean())
        for name, value in found.items():
            self._metrics[mode][name].append(value)
        logged = self._logs["advantages"]
        for _ in range(min(len(rollouts), len(logged))):  # TRL wrote its own
            logged.pop()
        length_N = rollouts.mask_NT.sum(1).clamp(min=1)
        logged.extend(((advantages_NT * rollouts.mask_NT).sum(1) / length_N).tolist())

    def _prepare_inputs(self, generation_batch):
        inputs = super()._prepare_inputs(generation_batch)
        if not self.model.training:
            self._counts = self._counted([inputs])
        elif self._step % self.args.gradient_accumulation_steps == 0:
            first = self._step % self.args.steps_per_generation
            self._counts = self._counted(self._buffered_inputs[first : first + self.args.gradient_accumulation_steps])
        return inputs

    def _counted(self, parts: list[dict]) -> BatchCounts:
        """Counts of a whole optimizer step, over its accumulated parts and all processes."""
        here = torch.zeros(4, dtype=torch.long, device=self.accelerator.device)
        for part in parts:
            counts = BatchCounts.of(part["completion_mask"] * part.get("tool_mask", 1), part["keep"])
            here += torch.tensor([counts.tokens, counts.rollouts, counts.kept_tokens, counts.kept_rollouts], device=here.device)
        return BatchCounts(*self.accelerator.gather(here).view(-1, 4).sum(0).tolist(), self.max_completion_length)

    def _compute_loss(self, model, inputs):
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        images = {k: inputs.get(k) for k in IMAGES}
        logprobs_NT, entropies_NT, _ = self._get_per_token_logps_and_entropies(
            model, ids, attention, inputs["completion_ids"].shape[1], compute_entropy=True, **images)
        old_NT = inputs.get("old_per_token_logps", logprobs_NT.detach())
        mask_NT = (inputs["completion_mask"] * inputs.get("tool_mask", 1) * inputs["keep"][:, None]).float()
        extras = {"reference_logprobs": inputs.get("ref_per_token_logps"), "entropies": entropies_NT.detach(),
                  "old_distributions": inputs.get("old_distributions")}
        method = self._in_force()
        extras = {k: v for k, v in extras.items() if k in method.needs}
        loss_NT = method.token_loss(logprobs_NT, old_NT, inputs["advantages"], mask_NT, extras)
        if "importance_sampling_ratio" in inputs:  # TRL's correction for what vLLM computes otherwise
            loss_NT = loss_NT * inputs["importance_sampling_ratio"]
        loss = method.aggregate(loss_NT, mask_NT, self._counts)
        mode = "train" if self.model.training else "eval"
        share = diagnostics.clip_share(logprobs_NT, old_NT, inputs["advantages"], mask_NT)
        self._metrics[mode]["update/clip_share"].append(share)
        self._metrics[mode]["entropy"].append(diagnostics.token_average(entropies_NT.detach(), mask_NT))
        # Processes' gradients are averaged; ours are to be added up.
        return loss * self.accelerator.num_processes


IMAGES = ("pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask", "spatial_shapes", "num_tiles", "image_sizes",
          "token_type_ids", "mm_token_type_ids", "image_position_ids")
