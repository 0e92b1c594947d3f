"""What a profile needs and what is here: models, device, precision, memory, disk; and what will not work.

Opens no model and fetches nothing; what a model weighs is read from its files, or from the profile while it is not
here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.profiles import models_of, source_parts
from pipeline.runtime.devices import BYTES, ROOM, Place, free_memory, place, weight_bytes
from pipeline.runtime.hub import SPARE, cache_folder, cached, free_bytes, hub_model
from pipeline.settings import Profile

GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One line of the report."""

    what: str
    state: str  # "here", "to fetch", "missing", "ok", "short" or "unknown"
    detail: str

    @property
    def hinders(self) -> bool:
        """Return whether the profile will not work as it is."""
        return self.state in ("missing", "short")


def examine(profile: Profile, device: str = "") -> Iterator[Diagnosis]:
    """Yield the report on a profile, line by line. Raises `InputError` for a device that is not here."""
    where = place(device, profile.dtype, profile.quantization)
    yield Diagnosis(what="profile", state="ok", detail=f"{profile.name}: {profile.description}")
    yield Diagnosis(what="licence", state="ok", detail=profile.licence or "not told by the profile")
    yield Diagnosis(what="device", state="ok", detail=f"{where.device}{_name(where.device)}")
    yield Diagnosis(what="precision", state="ok", detail=f"{where.dtype}: {where.reason}")
    if where.quantization:
        state = "missing" if where.obstacle else "ok"
        detail = where.obstacle or "captioner and language model, by bitsandbytes"
        yield Diagnosis(what="quantization", state=state, detail=f"{where.quantization}: {detail}")
    if profile.compiled:
        yield Diagnosis(what="compiled", state="ok", detail="the UNet, by torch.compile; each size of batch costs once")
    examined = [_model(profile, role, key, text, where) for role, key, text in models_of(profile)]
    yield from (examination.diagnosis for examination in examined)
    yield _memory(where, [examination.memory for examination in examined])
    yield _disk(sum(examination.fetched for examination in examined))
    if profile.seconds:
        yield Diagnosis(what="time", state="ok", detail=profile.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """One model: its line, the GB it takes in memory, the GB still to be fetched."""

    diagnosis: Diagnosis
    memory: float
    fetched: float = 0.0


def _model(profile: Profile, role: str, key: str, text: str, where: Place) -> Examination:
    dtype = where.precision(role)
    told, memory = profile.sizes.get(key, 0.0), profile.parameters.get(key, 0.0) * BYTES[dtype]
    model = hub_model(role, text)
    parts = source_parts(text)
    if gone := [part for part in parts[1:] if not Path(part).is_file()]:
        return Examination(
            diagnosis=Diagnosis(what=key, state="missing", detail=f"there is no file {gone[0]}"), memory=0.0
        )
    folder = cached(model) if model else Path(parts[1] if len(parts) > 1 else text)
    if folder is not None and folder.exists():
        memory = weight_bytes(str(folder), dtype) / GB
        diagnosis = Diagnosis(what=key, state="here", detail=f"{text}, {memory:.2f} GB in {dtype}")
        return Examination(diagnosis=diagnosis, memory=memory)
    if model is None and Path(text).is_absolute():
        return Examination(
            diagnosis=Diagnosis(what=key, state="missing", detail=f"there is no folder {text}"), memory=0.0
        )
    if model is None:
        diagnosis = Diagnosis(what=key, state="unknown", detail=f"{text}: its library knows where it is")
        return Examination(diagnosis=diagnosis, memory=memory, fetched=told)
    size = f"{told:.2f} GB" if told else "size not told by the profile"
    pinned = "" if model.is_pinned else "; no commit is pinned, so what comes may change"
    diagnosis = Diagnosis(what=key, state="to fetch", detail=f"{text}, {size}{pinned}")
    return Examination(diagnosis=diagnosis, memory=memory, fetched=told)


def _memory(where: Place, each: Sequence[float]) -> Diagnosis:
    free, needed, largest = free_memory(where.device) / GB, ROOM * sum(each), ROOM * max(each, default=0.0)
    detail = f"{free:.1f} GB free; all stages together take about {needed:.1f} GB in {where.dtype}"
    if largest > free:
        detail += f", the largest alone {largest:.1f} GB; choose a smaller profile or a larger device"
        return Diagnosis(what="memory", state="short", detail=detail)
    if needed > free:
        detail += ", so stages give way to one another, which costs time"
    return Diagnosis(what="memory", state="ok", detail=detail)


def _disk(fetched: float) -> Diagnosis:
    folder = cache_folder()
    free = free_bytes(folder) / GB
    detail = f"{free:.1f} GB free in {folder}; {fetched:.1f} GB to fetch"
    if fetched + SPARE / GB <= free:
        return Diagnosis(what="disk", state="ok", detail=detail)
    return Diagnosis(what="disk", state="short", detail=f"{detail}; free some, or set HF_HOME to another disk")


def _name(device: str) -> str:
    import torch

    return f" ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else ""


def hub_models(profile: Profile) -> tuple[tuple[str, str], ...]:
    """Return (role, text) of every model of the profile that has a hub id. Raises `InputError` when none has."""
    found = tuple((role, text) for role, _, text in models_of(profile) if hub_model(role, text))
    if not found:
        raise InputError(f"The profile '{profile.name}' needs nothing from a hub; its models are folders here.")
    return found
