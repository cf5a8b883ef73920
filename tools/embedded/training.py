"""The training loop: seeded, resumable, timed by the clock."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from embedded.model import Llama
from embedded.sequences import Example

Batches = Iterator[list[Example]]


@dataclass(frozen=True)
class Phase:
    """`minutes` of optimizer steps of about `tokens` tokens; `rate` is the highest learning rate.

    Ends before its time once the loss (watched every 25 steps) is below `until`.
    """

    name: str
    minutes: float
    rate: float
    tokens: int
    decays: bool
    until: float | None = None


def padded(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Ids and weights, [rows, longest]; padding is token 1 and weighs nothing."""
    longest = max(len(example.ids) for example in examples)
    ids = torch.ones(len(examples), longest, dtype=torch.long)
    weights = torch.zeros(len(examples), longest)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        weights[row, : len(example.ids)] = torch.tensor(example.weights)
    return ids, weights


class Optimizers:
    """Muon for the matrices inside the layers, AdamW for the embedding and the norms."""

    def __init__(self, model: Llama) -> None:
        inside = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
        embedding = [p for n, p in model.named_parameters() if "embed" in n]
        norms = [p for p in model.parameters() if p.ndim == 1]
        self.all: list[torch.optim.Optimizer] = [
            torch.optim.Muon(
                inside, lr=0.0, momentum=0.95, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(embedding, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0),
            torch.optim.AdamW(norms, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    def step(self, rate: float) -> None:
        for optimizer, share in zip(self.all, (1.0, 1.0, 0.2), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def rate_at(phase: Phase, step: int, progress: float) -> float:
    """Linear warm-up over 30 steps; a line from 40 % of the way down to 2 %, if it decays."""
    warm = min(1.0, (step + 1) / 30)
    decay = min(1.0, (1.0 - progress) / 0.6) if phase.decays else 1.0
    return phase.rate * warm * max(0.02, decay)


class Trainer:
    """One model through its phases. A checkpoint holds what a resumed run needs to go on.

    Two processes of one thread each learn nearly twice as fast as one of two threads: matrices
    this small gain little from a second core. Each takes every second batch; gradients are
    averaged. The first process alone keeps time, logs and saves.
    """

    def __init__(
        self, model: Llama, folder: Path, watch: Callable[[Llama], dict[str, float]]
    ) -> None:
        self._model, self._folder, self._watch = model, folder, watch
        self._optimizers = Optimizers(model)
        self._phase, self._step, self._tokens, self._seconds = 0, 0, 0, 0.0
        self._rank, self._world = dist.get_rank(), dist.get_world_size()
        self._saved = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpoint = folder / "checkpoint.pt"
        if self._checkpoint.exists():
            state = torch.load(self._checkpoint, weights_only=True)
            model.load_state_dict(state["model"])
            for optimizer, kept in zip(self._optimizers.all, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
            self._phase, self._step = state["phase"], state["step"]
            self._tokens, self._seconds = state["tokens"], state["seconds"]

    def run(self, phases: Sequence[tuple[Phase, Callable[[int], Batches]]]) -> None:
        """Train. `stream(n)` gives a phase's batches from its n-th on, the same each time."""
        for number, (phase, stream) in enumerate(phases):
            if number < self._phase:
                continue
            self._run_phase(phase, stream(self._step * self._world + self._rank))
            self._phase, self._step, self._seconds = number + 1, 0, 0.0
            self._save()

    def _run_phase(self, phase: Phase, stream: Batches) -> None:
        running: list[float] = []
        while True:
            started = time.monotonic()
            progress = torch.tensor([self._seconds / (60 * phase.minutes)], dtype=torch.float64)
            dist.broadcast(progress, 0)
            if float(progress) >= 1.0:
                return
            examples = next(stream)
            for _ in range(self._world - 1):
                next(stream)
            running.append(self._learn(examples, rate_at(phase, self._step, float(progress))))
            self._step += 1
            self._seconds += time.monotonic() - started
            if self._step % 25 == 0:
                mean = sum(running[-25:]) / 25
                if self._rank == 0:
                    watched = self._watch(self._model) if self._step % 200 == 0 else {}
                    self._log(phase, mean, watched)
                if phase.until is not None and mean < phase.until:
                    return
            if time.monotonic() - self._saved > 60:
                self._save()
                self._saved = time.monotonic()

    def _learn(self, examples: list[Example], rate: float) -> float:
        ids, weights = padded(examples)
        self._tokens += self._world * sum(len(example.ids) for example in examples)
        scored = weights > 0
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = self._model.losses(ids, scored)
        loss = (losses * weights[scored]).sum() / weights.sum().clamp(min=1.0)
        loss.backward()  # type: ignore[no-untyped-call]
        return self._share(loss.detach(), rate)

    def _share(self, loss: Tensor, rate: float) -> float:
        """Average loss and gradients over the processes, and step; the mean loss."""
        parameters = list(self._model.parameters())
        flat = torch.cat([loss.reshape(1), *(p.grad.reshape(-1) for p in parameters)])
        dist.all_reduce(flat)
        flat /= self._world
        place = 1
        for p in parameters:
            p.grad.copy_(flat[place : place + p.numel()].view_as(p))
            place += p.numel()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        self._optimizers.step(rate)
        return float(flat[0])

    def _log(self, phase: Phase, loss: float, watched: dict[str, float]) -> None:
        line = {
            "phase": phase.name,
            "step": self._step,
            "tokens": self._tokens,
            "seconds": round(self._seconds),
            "loss": round(loss, 3),
            **{name: round(value, 3) for name, value in watched.items()},
        }
        print(json.dumps(line), flush=True)
        with (self._folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        if self._rank != 0:
            return
        state = {
            "model": self._model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers.all],
            "phase": self._phase,
            "step": self._step,
            "tokens": self._tokens,
            "seconds": self._seconds,
        }
        beside = self._checkpoint.with_suffix(".tmp")
        torch.save(state, beside)
        beside.replace(self._checkpoint)


def skipping(make: Callable[[random.Random], Batches], seed: str) -> Callable[[int], Batches]:
    """A stream that can be taken up at its n-th batch: drawn again and skipped."""

    def stream(start: int) -> Batches:
        drawn = make(random.Random(seed))
        for _ in range(start):
            next(drawn)
        return drawn

    return stream
