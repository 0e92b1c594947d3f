"""Checkpoints of a training: two that are written at once are both whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from pipeline.reinforcement.checkpoints import Progressed, fingerprint, resume, write


def training() -> tuple[list[torch.Tensor], torch.optim.Optimizer, torch.Generator]:
    """A training that has made a step."""
    parameters = [torch.zeros(64, 64, requires_grad=True)]
    optimizer = torch.optim.Adam(parameters)
    parameters[0].sum().backward()
    optimizer.step()
    return parameters, optimizer, torch.Generator()


def test_two_that_are_written_at_once_are_whole(tmp_path: Path) -> None:
    """The unfinished files had one name, and whoever came second found it gone."""
    file, mark = tmp_path / "new" / "one.safetensors", fingerprint([], "recipe")

    def keep(number: int) -> None:
        parameters, optimizer, generator = training()
        at = Progressed(
            best=tuple(parameter.detach() for parameter in parameters), losses=[1.0, 0.5], accuracies=[0.0, number]
        )
        for _ in range(100):
            write(file, mark, parameters, optimizer, generator, at)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(keep, range(2)))
    found = resume(file, mark, *training())
    assert found is not None
    assert found.losses == [1.0, 0.5]
    assert [path.name for path in file.parent.iterdir()] == ["one.safetensors"]
