"""The training loop that every tiny model shares: AdamW, cosine schedule, bfloat16 autocast, checkpoints, resume.

Knows nothing of any model: it is given modules and a function that returns the loss of step k.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How long and how one model is trained."""

    name: str
    folder: Path  # checkpoints
    steps: int
    learning_rate: float
    warmup: int = 100
    weight_decay: float = 0.01
    average: float = 0.0  # decay of the moving average of the weights; 0 for none
    checkpoint_every: float = 120.0  # seconds


def _schedule(run: Run) -> Callable[[int], float]:
    def factor(step: int) -> float:
        rise = min(1.0, (step + 1) / max(1, min(run.warmup, run.steps // 4)))
        return rise * (0.02 + 0.98 * 0.5 * (1 + torch.cos(torch.tensor(step / run.steps * torch.pi)).item()))

    return factor


def fit(module: nn.Module, loss: Callable[[int, torch.Generator], Tensor], run: Run) -> nn.Module:
    """Train `module` in place and return it (with the averaged weights where asked for), in eval mode.

    `loss(step, generator)` computes the loss of one batch; the generator is seeded by the step, so that a resumed run
    sees the batches that an uninterrupted one would have seen.
    """
    optimizer = torch.optim.AdamW(
        [weight for weight in module.parameters() if weight.requires_grad],
        lr=run.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=run.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _schedule(run))
    average = copy.deepcopy(module.state_dict()) if run.average else None
    path = run.folder / f"{run.name}.pt"
    first = _resume(path, module, optimizer, schedule, average)
    module.train()
    saved = time.monotonic()
    with _progress() as progress:
        bar = progress.add_task(run.name, total=run.steps, completed=first, loss=float("nan"))
        smooth = 0.0
        for step in range(first, run.steps):
            generator = torch.Generator().manual_seed(step)
            with torch.autocast("cpu", torch.bfloat16):
                value = loss(step, generator)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if average is not None:
                _update(average, module, min(run.average, (step + 1) / (step + 10)))
            smooth = value.item() if step == first else 0.98 * smooth + 0.02 * value.item()
            progress.update(bar, completed=step + 1, loss=smooth)
            if step % 100 == 99:
                log.info("%s step %d of %d, loss %.4f", run.name, step + 1, run.steps, smooth)
            if time.monotonic() - saved > run.checkpoint_every or step + 1 == run.steps:
                _save(path, step + 1, module, optimizer, schedule, average)
                saved = time.monotonic()
    if average is not None:
        module.load_state_dict(average)
    return module.eval()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )


@torch.no_grad()
def _update(average: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)
        else:
            average[name].copy_(value)


def _save(
    path: Path,
    step: int,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    average: dict[str, Tensor] | None,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    state = {
        "step": step,
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": {"last_epoch": schedule.last_epoch},
        "average": average,
    }
    torch.save(state, unfinished)
    unfinished.rename(path)


def _resume(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    average: dict[str, Tensor] | None,
) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.last_epoch = state["schedule"]["last_epoch"]
    if average is not None and state["average"] is not None:
        average.update(state["average"])
    log.info("%s resumes at step %d", path.stem, state["step"])
    return int(state["step"])
