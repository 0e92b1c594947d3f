"""Which models, at which size: profiles read from TOML.

Knows no model library; whether a model really is where a profile says is checked by `models.py`. A profile is one file
under assets/profiles, or a person's own file anywhere.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import cast

from pipeline.errors import ProfileError, SettingsError, display_name, reason
from pipeline.settings import Profile, Settings, refusal

PROFILES = Path(__file__).resolve().parent.parent / "assets" / "profiles"

PATHS = ("captioner", "perturber", "perturber_adapter", "sentences", "diffusion", "clip", "examples", "demo")


def models_of(profile: Profile) -> tuple[tuple[str, str, str], ...]:
    """Return (role, key in `Profile.sizes`, what the profile says) of every model; those that are "" are left out."""
    roles = ("captioner", "perturber", "perturber_adapter", "sentences", "diffusion", "clip")
    single = [(role, role, str(getattr(profile, role))) for role in roles]
    judges = [("classifier", f"classifier {name}", text) for name, text in profile.classifiers.items()]
    measures = [(role, f"measure {role}", text) for role, text in profile.measures.items()]
    return tuple(entry for entry in (*single, *judges, *measures) if entry[2])


def known_profiles() -> tuple[str, ...]:
    """Return the names of the profiles that come with the tool, sorted."""
    return tuple(sorted(path.stem for path in PROFILES.glob("*.toml")))


def load_profile(name_or_path: str) -> Profile:
    """Load a shipped profile by its name, or any TOML file by its path.

    With `base = "NAME"` or a path, a file only says what it changes; its own classifiers come first. Values that start
    with "./" or "../" are paths from the file's own folder; absolute ones and "~" are taken as they are; all others are
    hub ids. Raises `ProfileError` for a missing or malformed file, naming the key at fault.
    """
    return _load(name_or_path, ())


def _load(name_or_path: str, above: tuple[Path, ...]) -> Profile:
    path = _find(name_or_path)
    if path in above:
        raise ProfileError(
            f"The profile '{path.name}' is, by way of its `base`, its own base; name another one.", path=path
        )
    table = _read(path)
    named = table.pop("base", None)
    base = None if named is None else _load(resolve_paths(str(named), path.parent), (*above, path))
    changes = table.pop("settings", {})
    values = _checked(table, Profile, path, required=base is None)
    values["name"] = table.get("name", path.stem)
    values["source"] = path.stem if path.parent == PROFILES.resolve() else path.name
    if not isinstance(changes, dict):
        raise ProfileError(
            f"The profile '{path.name}' says settings = {changes!r}; write a table [settings].", path=path
        )
    settings = _checked(changes, Settings, path)
    try:
        values["settings"] = replace(base.settings if base else Settings(), **settings)  # type: ignore[arg-type]
    except SettingsError as error:
        raise ProfileError(
            f"The profile '{path.name}' has a setting that cannot be used: {error}", path=path
        ) from error
    for key in PATHS:
        if key in values:
            values[key] = resolve_paths(str(values[key]), path.parent)
    for key in ("classifiers", "evaluation", "measures"):
        if key in values:
            entries = cast("dict[str, str]", values[key])
            values[key] = {name: resolve_paths(value, path.parent) for name, value in entries.items()}
    if base:
        for key in ("classifiers", "evaluation", "measures", "families", "sizes", "parameters"):
            own = cast("dict[str, object]", values.get(key, {}))
            values[key] = own | {name: value for name, value in getattr(base, key).items() if name not in own}
    profile = replace(base, **values) if base else Profile(**values)  # type: ignore[arg-type]
    if not profile.classifiers:
        raise ProfileError(f"The profile '{path.name}' names no classifier; add one under [classifiers].", path=path)
    return profile


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path).expanduser()
    if path.suffix != ".toml" and len(path.parts) == 1:
        path = PROFILES / f"{name_or_path}.toml"
    if not path.is_file():
        raise ProfileError(
            f"There is no profile '{display_name(name_or_path)}'; choose one of {', '.join(known_profiles())}, "
            "or give the path of a .toml file.",
            path=name_or_path,
        )
    return path.resolve()


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why, detail = reason(error)
        raise ProfileError(f"The profile '{path.name}' could not be read: {why}.", path=path, detail=detail) from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"The profile '{path.name}' is not valid TOML: {error}.", path=path) from error


def _checked(
    table: Mapping[str, object], kind: type[Profile] | type[Settings], path: Path, *, required: bool = False
) -> dict[str, object]:
    """Return the table with lists as tuples; every key known, every value of its kind and in its bounds, none missing.

    Numbers stay as they are written, 3 for 3.0 too, for the keys of pictures are made of them.
    """
    known: dict[str, Field[object]] = {entry.name: entry for entry in fields(kind)}
    if unknown := sorted(set(table) - set(known)):
        raise ProfileError(
            f"The profile '{path.name}' has the unknown key '{unknown[0]}'; known here are {', '.join(known)}.",
            path=path,
        )
    for key, value in table.items():
        if wish := refusal(kind, key, value):
            raise ProfileError(f"The profile '{path.name}' says {key} = {value!r}; {wish}.", path=path)
    if required:
        missing = [key for key, entry in known.items() if key not in table and key != "name" and _is_required(entry)]
        if missing:
            raise ProfileError(
                f"The profile '{path.name}' lacks {', '.join(missing)}; assets/profiles shows the form.", path=path
            )
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _is_required(entry: Field[object]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def source_parts(text: str) -> tuple[str, ...]:
    """Return the parts of 'architecture + weights.safetensors + labels.txt'; a folder or a name is one part."""
    return tuple(part.strip() for part in text.split(" + "))


def resolve_paths(value: str, folder: Path) -> str:
    """Return what a profile says with its paths made absolute; "architecture + weights + labels" part by part."""
    if len(parts := source_parts(value)) > 1:
        return " + ".join(resolve_paths(part, folder) for part in parts)
    value = value.removeprefix("local-dir:")
    if value.startswith(("./", "../")):
        return str((folder / value).resolve())
    return str(Path(value).expanduser()) if value.startswith("~") else value
