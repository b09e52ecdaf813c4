"""Stacked replicates: many runs of one shape at once, on one device, as one batched model.

Every run goes through `training.carry_on`, unchanged, in a thread of its own, and only one thread moves at a time.
Where a run needs the model (answers, log-probabilities, a gradient, a step) it asks and waits; when all wait, what
they asked is answered for all of them at once by `engines.stacked`:

    run 0   ask ──┐                ┌── answer, loss of its own method, ask ...
    run 1   ask ──┼─ one batched ──┼── answer, ...
    run 2   ask ──┘   operation    └── answer, ...

So a method, a metric, a checkpoint and a table are those of a single run. A run that ends, or collapses, asks no more.
Losses are computed on the CPU, where hundreds of operations on small tensors cost least.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from polarity_lib.config import RunConfig
from polarity_lib.engines.stacked import Decode, StackedEngine, StackedModel
from polarity_lib.learner import Learner
from polarity_lib.policy import SIZES, Packed, build_tokenizer, logits_of, one_thread
from polarity_lib.problems import world_named
from polarity_lib.results import RunFolder, say
from polarity_lib.run import Run, prepare
from polarity_lib.training import begin, carry_on


# ---------------------------------------------------------------- what a run asks


@dataclass(frozen=True)
class Forward:
    """Log-probabilities of packed tokens."""

    packed: Packed
    temperature: float
    wants_gradient: bool
    keep_hidden: bool

    phase = 1

    @property
    def alike(self) -> tuple:
        return self.wants_gradient, self.keep_hidden


@dataclass(frozen=True)
class Backward:
    """The gradient of a loss whose slope in one Forward's log-probabilities is known."""

    graph: Tensor  # the log-probabilities of all runs of that Forward
    row: int  # which of them are this run's
    slope_M: Tensor

    phase = 2

    @property
    def alike(self) -> tuple:
        return (id(self.graph),)


@dataclass(frozen=True)
class Step:
    """One optimizer step; of a batch's first, where the weights are is remembered."""

    limit: float
    first: bool

    phase, alike = 3, ()


@dataclass(frozen=True)
class Moved:
    """How far the weights are from where they were remembered; a size puts them at that distance."""

    size: float | None

    phase, alike = 4, ()


class Stopped(BaseException):
    """Raised in a run that waits when the whole stack ends early; its checkpoint is kept."""


# ---------------------------------------------------------------- one run's side


class _Asked(torch.autograd.Function):
    """Log-probabilities whose backward pass is one more question."""

    @staticmethod
    def forward(ctx, handle, logprobs_M, asked):
        ctx.asked = asked  # not one by one: the stack's graph is no part of this run's
        return logprobs_M.clone()

    @staticmethod
    def backward(ctx, slope_M):
        ask, graph, row = ctx.asked
        ask(Backward(graph, row, slope_M))
        return None, None, None


class StackedLearner(Learner):
    """The learner of one run in a stack."""

    def __init__(self, alone: Learner, stack: "Stack", number: int):
        super().__init__(alone.policy, alone.optimizer)
        self.stack, self.number = stack, number
        self.handle = torch.zeros((), requires_grad=True)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def ask(self, question):
        return self.stack.ask(self.number, question)

    def _forward(self, packed, temperature, keep_hidden):
        return self.ask(Forward(packed, temperature, torch.is_grad_enabled(), keep_hidden))

    def hidden(self, packed):
        return self._forward(packed, 1.0, True)[2]

    def logprobs(self, packed, mask_NT, temperature, keep_hidden=False):
        logprobs_M, entropies_M, hidden_MC, graph, row = self._forward(packed, temperature, keep_hidden)
        if graph is not None:
            logprobs_M = _Asked.apply(self.handle, logprobs_M, (self.ask, graph, row))
        where = mask_NT.bool().nonzero(as_tuple=True)
        zeros_NT = torch.zeros(mask_NT.shape)
        return zeros_NT.index_put(where, logprobs_M), zeros_NT.index_put(where, entropies_M), hidden_MC

    def distributions(self, hidden_MC, temperature):
        model = self.policy.model
        return (logits_of(model, hidden_MC.to(model.device)).float().cpu() / temperature).log_softmax(-1)

    def begin(self):
        self.steps = 0

    def zero_grad(self):
        pass  # a step leaves no gradient behind

    def step(self, limit):
        self.steps += 1
        return self.ask(Step(limit, first=self.steps == 1))

    def moved(self, size=None):
        return self.ask(Moved(size)) if self.steps else 0.0

    def state(self):
        self.stack.write_optimizer(self.number, self.optimizer)
        model = {name: values.detach().cpu().clone() for name, values in self.policy.model.state_dict().items()}
        return {"model": model, "optimizer": self.optimizer.state_dict()}


# ---------------------------------------------------------------- the stack's side


class Stack:
    """Runs of one shape, their weights and their optimizers as one; it waits for questions and answers them together."""

    def __init__(self, runs: list[Run], device: str):
        self.runs = runs
        self.model = StackedModel([run.policy for run in runs], device)
        flat = self.model.flat_RW
        self.groups = [run.learner.optimizer.param_groups[0] for run in runs]
        self.rates_R = torch.tensor([group["lr"] for group in self.groups], dtype=torch.float64)
        self.adam = runs[0].config.optimizer == "adamw"
        self.before_RW = torch.empty_like(flat.detach())
        if self.adam:
            self.mean_RW, self.square_RW = torch.zeros_like(flat.detach()), torch.zeros_like(flat.detach())
            self.steps_R = torch.zeros(len(runs), dtype=torch.float64)
        for number, run in enumerate(runs):
            self._read_optimizer(number, run.learner.optimizer)
            run.learner = StackedLearner(run.learner, self, number)
            if run.critic:  # it learns from what the losses see
                state = run.critic.state()
                run.critic.to(run.learner.device).restore(state)
            run.policy.engine = StackedEngine(run.policy, run.learner.ask)
        self._go = [threading.Event() for _ in runs]
        self._came = threading.Semaphore(0)  # released when the one thread that moves waits or ends
        self._questions: dict[int, object] = {}
        self._answers: dict[int, object] = {}
        self._stopping = False

    # --- whose turn it is

    def ask(self, number: int, question):
        """Called by a run: wait until the stack has answered."""
        self._questions[number] = question
        self._came.release()
        self._go[number].wait()
        self._go[number].clear()
        if self._stopping:
            raise Stopped
        return self._answers.pop(number)

    def work(self, call: Callable[[int], object]) -> list:
        """call(number) for every run, in lockstep. Returns what each returned, or the exception that it raised.

        An error ends its run alone; what ends a program (an interruption) ends all.
        """
        results: list = [None] * len(self.runs)

        def go(number):
            try:
                with one_thread("cpu"):
                    results[number] = call(number)
            except BaseException as error:
                results[number] = error
            finally:
                self._came.release()

        threads = [threading.Thread(target=go, args=(number,), daemon=True) for number in range(len(self.runs))]
        try:
            for thread in threads:
                thread.start()
                self._came.acquire()
                self._end_all_if(results)
            while self._questions:
                chosen = self.next_questions()
                answers = self.answer(chosen)
                for number, answer in zip(chosen, answers):
                    del self._questions[number]
                    self._answers[number] = answer
                    self._let_go(number)
                    self._end_all_if(results)
        finally:
            self._stopping = True
            for number in list(self._questions):
                self._let_go(number)
        return results

    def _let_go(self, number: int) -> None:
        self._go[number].set()
        self._came.acquire()

    @staticmethod
    def _end_all_if(results: list) -> None:
        for found in results:
            if isinstance(found, BaseException) and not isinstance(found, Exception):
                raise found

    def next_questions(self) -> dict[int, object]:
        """Those that are answered next: sampling only when nobody is in the middle of an update, so that all stay in step."""
        waiting = dict(sorted(self._questions.items()))
        phases = {question.phase for question in waiting.values()}
        phase = min(phases - {Decode.phase} or phases)
        alike = next(question.alike for question in waiting.values() if question.phase == phase)
        return {n: question for n, question in waiting.items() if (question.phase, question.alike) == (phase, alike)}

    def answer(self, chosen: dict[int, object]) -> list:
        """One batched operation for some runs."""
        numbers, questions = list(chosen), list(chosen.values())
        do = {Decode: self.model.decode, Forward: self._forward, Backward: self._backward, Step: self._step, Moved: self._moved}
        return do[type(questions[0])](numbers, questions)

    # --- answers

    def _forward(self, numbers: list[int], asked: list[Forward]) -> list[tuple]:
        with torch.set_grad_enabled(asked[0].wants_gradient):
            logprobs_RM, entropies_RM, hidden_RMC = self.model.token_logprobs(
                numbers, [a.packed for a in asked], [a.temperature for a in asked])
        graph = logprobs_RM if asked[0].wants_gradient else None
        logprobs, entropies = logprobs_RM.detach().cpu(), entropies_RM.cpu()
        hidden = hidden_RMC.detach().cpu() if asked[0].keep_hidden else None
        found = []
        for row, a in enumerate(asked):
            M = len(a.packed.targets_M)
            found.append((logprobs[row, :M], entropies[row, :M], None if hidden is None else hidden[row, :M], graph, row))
        return found

    def _backward(self, numbers: list[int], asked: list[Backward]) -> list[None]:
        graph = asked[0].graph
        slope_RM = torch.zeros(graph.shape)
        for a in asked:
            slope_RM[a.row, : len(a.slope_M)] = a.slope_M
        graph.backward(slope_RM.to(graph.device))
        return [None] * len(asked)

    @torch.no_grad()
    def _step(self, numbers: list[int], asked: list[Step]) -> list[float]:
        """A step of every run with its own rate and clip; the arithmetic is that of torch.optim.AdamW or SGD."""
        flat, grad = self.model.flat_RW, self.model.flat_RW.grad
        device = flat.device
        rows = torch.tensor(numbers, device=device)
        first = torch.tensor([n for n, a in zip(numbers, asked) if a.first], dtype=torch.long, device=device)
        self.before_RW[first] = flat[first]
        norms_R = lengths(grad[rows]).float().cpu()
        finite = torch.isfinite(norms_R)
        chosen = [n for n, good in zip(numbers, finite.tolist()) if good]
        if chosen:
            rows = torch.tensor(chosen, device=device)
            limits_R = torch.tensor([a.limit for a in asked])[finite]
            cut_R = (limits_R / (norms_R[finite] + 1e-6)).clamp(max=1.0)
            grad_RW = grad[rows] * cut_R.to(device)[:, None]
            flat[rows] = flat[rows] + (self._adam_step(chosen, rows, grad_RW) if self.adam else
                                       grad_RW * -self.rates_R[chosen].float().to(device)[:, None])
        self.model.flat_RW.grad = None
        return norms_R.tolist()

    def _adam_step(self, numbers: list[int], rows: Tensor, grad_RW: Tensor) -> Tensor:
        (low, high), eps = self.groups[0]["betas"], self.groups[0]["eps"]
        self.steps_R[numbers] += 1
        steps_R = self.steps_R[numbers]
        mean_RW = self.mean_RW[rows].lerp_(grad_RW, 1 - low)
        square_RW = self.square_RW[rows].mul_(high).addcmul_(grad_RW, grad_RW, value=1 - high)
        self.mean_RW[rows], self.square_RW[rows] = mean_RW, square_RW
        rates_R1 = (self.rates_R[numbers] / (1 - low**steps_R)).float().to(rows.device)[:, None]
        roots_R1 = (1 - high**steps_R).sqrt().float().to(rows.device)[:, None]
        return mean_RW.mul_(-rates_R1).div_(square_RW.sqrt_().div_(roots_R1).add_(eps))

    @torch.no_grad()
    def _moved(self, numbers: list[int], asked: list[Moved]) -> list[float]:
        flat = self.model.flat_RW
        rows = torch.tensor(numbers, device=flat.device)
        change_RW = flat[rows] - self.before_RW[rows]
        norms = lengths(change_RW).tolist()
        sized = [i for i, (a, norm) in enumerate(zip(asked, norms)) if a.size is not None and 0 < norm < float("inf")]
        if sized:
            rows = rows[sized]
            factors = torch.tensor([asked[i].size / norms[i] for i in sized], device=flat.device)
            flat[rows] = self.before_RW[rows] + change_RW[sized] * factors[:, None]
            for i, norm in zip(sized, lengths(flat[rows] - self.before_RW[rows]).tolist()):
                norms[i] = norm
        return norms

    # --- checkpoints

    def _pieces(self, numbers_W: Tensor) -> list[Tensor]:
        return [piece.view(shape) for piece, shape in zip(numbers_W.split(self.model.sizes), self.model.shapes.values())]

    def _read_optimizer(self, number: int, optimizer: torch.optim.Optimizer) -> None:
        """Take over what a run's own optimizer remembers, as its checkpoint left it."""
        states = [optimizer.state[p] for p in self.groups[number]["params"] if p in optimizer.state]
        if self.adam and states:
            self.steps_R[number] = float(states[0]["step"])
            for kept_RW, name in ((self.mean_RW, "exp_avg"), (self.square_RW, "exp_avg_sq")):
                kept_RW[number] = torch.cat([state[name].flatten() for state in states])

    def write_optimizer(self, number: int, optimizer: torch.optim.Optimizer) -> None:
        """The reverse: what a single run's optimizer would remember."""
        if self.adam and self.steps_R[number]:
            parts = (self._pieces(kept[number].cpu().clone()) for kept in (self.mean_RW, self.square_RW))
            for p, mean, square in zip(self.groups[number]["params"], *parts):
                optimizer.state[p] = {"step": self.steps_R[number].float(), "exp_avg": mean.clone(), "exp_avg_sq": square.clone()}


def lengths(vectors_RW: Tensor) -> Tensor:
    """[R] Euclidean; the sum over all numbers of a policy is made in double precision."""
    return torch.linalg.vector_norm(vectors_RW, dim=1, dtype=torch.float64)


# ---------------------------------------------------------------- from outside


@dataclass(frozen=True)
class Wanted:
    """A run that a stack is to compute; arguments as of `training.train`."""

    config: RunConfig
    folder: RunFolder
    update_sizes: list[float] | None = None
    watch: Callable | None = None


def train_stacked(wanted: list[Wanted], device: str) -> list[dict]:
    """Compute runs of one `stack_key` at once, each in its own folder. Returns the tables of each.

    Runs that have ended are loaded, others continue from their checkpoints, wherever those come from.

    Raises:
        whatever a run raised, after the others have come to their end.
    """
    with contextlib.ExitStack() as held, one_thread(device):
        for w in sorted(wanted, key=lambda w: w.folder.path):  # in one order everywhere, or two stacks could wait for each other
            held.enter_context(w.folder.lock())
        tables = [w.folder.load() for w in wanted]
        left = [i for i, found in enumerate(tables) if found is None]
        runs = [prepare(wanted[i].config, device) for i in left]
        for i, run in zip(left, runs):
            begin(run, wanted[i].folder, device, stacked=len(left))
        if len(left) == 1:
            tables[left[0]] = carry_on(runs[0], wanted[left[0]].folder, wanted[left[0]].update_sizes, wanted[left[0]].watch)
        elif left:
            def carry(number):
                w = wanted[left[number]]
                return carry_on(runs[number], w.folder, w.update_sizes, w.watch)

            for i, found in zip(left, Stack(runs, device).work(carry)):
                tables[i] = found
    errors = [(w.config.name, found) for w, found in zip(wanted, tables) if isinstance(found, Exception)]
    for name, error in errors[1:]:
        say(f"{name}: {error}")
    if errors:
        raise errors[0][1]
    return tables


def stack_key(config: RunConfig) -> tuple | None:
    """Runs with the same may be stacked: one shape of model, one world, the same sizes of everything. None: it goes alone.

    A language model fills a device by itself; several rounds of stored answers stop to draw them in the middle of training.
    """
    if config.start.model or config.offline and config.offline.rounds > 1:
        return None
    sizes = ("world", "steps", "prompts_per_step", "rollouts_per_prompt", "minibatches", "optimizer", "curve_every",
             "curve_problems", "curve_samples", "final_problems", "final_samples", "checkpoint_every", "longest_answer")
    return (config.start.size, config.offline is not None, *(getattr(config, name) for name in sizes))


# Stacks that share a device: while one waits for Python, another computes.
SIDE_BY_SIDE = 4
LARGEST = 256  # runs; behind it memory is spent for nothing, since a batched product is large enough long before
ROWS = 1024  # that a sampler decodes at once, for one run


def memory_of_run(config: RunConfig) -> int:
    """About how many bytes one more run in a stack takes: weights and what moves them, one update, one call of the sampler."""
    width, layers, heads, inner = SIZES[config.start.size]
    vocabulary, world = len(build_tokenizer()), world_named(config.world)
    prompt, answer = len(world.draw("validation", 1, config.seed)[0].prompt), world.max_new_tokens
    weights = 2 * vocabulary * width + layers * (4 * width**2 + 3 * width * inner + 2 * width) + width
    positions = config.prompts_per_step * (prompt + config.rollouts_per_prompt * answer) / config.minibatches
    sequence = prompt + config.rollouts_per_prompt * answer
    update = 1.3 * positions * (layers * (12 * width + 4 * inner) + 4 * vocabulary + 2 * min(sequence, 320))
    decode = ROWS * (layers * 2 * width * (answer + prompt / config.rollouts_per_prompt) + 8 * width + 8 * vocabulary)
    return int(4 * (9 * weights + update + decode))


def runs_at_once(config: RunConfig, free: float) -> int:
    """How many runs like this one a stack may hold with `free` bytes of memory, of which a fifth stays unused."""
    return max(1, min(LARGEST, int(0.8 * free / memory_of_run(config))))


def free_memory(device: str) -> float:
    """Bytes that one of the stacks of a device may count on; of a device that is not here, a quarter of 80 GB."""
    whole = torch.cuda.mem_get_info()[1] if device == "cuda" and torch.cuda.is_available() else 80e9
    return whole / SIDE_BY_SIDE


def stacks_of(configs: list[RunConfig], free: float) -> list[list[RunConfig]]:
    """Runs that go together, at least two each; what is in none of the lists goes alone."""
    by_key: dict[tuple, list[RunConfig]] = {}
    for config in configs:
        if key := stack_key(config):
            by_key.setdefault(key, []).append(config)
    found = []
    for same in by_key.values():
        number = -(-len(same) // runs_at_once(same[0], free))  # stacks, of nearly one size
        size = -(-len(same) // number)
        found += [same[at : at + size] for at in range(0, len(same), size)]
    return [some for some in found if len(some) > 1]
