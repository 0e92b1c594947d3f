"""What came of the additions, asked in the copy of the checkout that `tests/test_additions.py` made: prints JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import gradio as gr
import httpx
import torch
from typer.testing import CliRunner

import explorer
from explorer import PAGES, UNLISTED, build_app, serving
from explorer.components.facts import facts_markup
from explorer.desk import Desk
from pipeline.__main__ import app
from pipeline.captions.examples import examples
from pipeline.captions.grammar import objection
from pipeline.images import encode
from pipeline.models.loader import load
from pipeline.profiles import known_profiles, load_profile
from pipeline.reinforcement.heads import Part, train_head
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.refits import Bank, DrawnRows, refit
from pipeline.settings import Settings
from pipeline.store.store import Store
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import draw, redraw, sample

Told = dict[str, object]
SUMMER = "a photo of a barn in a summer meadow"


def command(*arguments: object) -> str:
    """What a command prints."""
    result = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "500"})
    assert result.exit_code == 0, result.output
    return result.stdout


def edits(out: Path) -> list[Told]:
    """The rows of an edit with the new profile, and with it the new inversion and the new score."""
    (scene,) = sample(1, HELD_OUT_SEED)
    photo = out / "photo.png"
    photo.write_bytes(encode(draw(scene)))
    came = redraw(scene, "background", "desert" if scene.background != "desert" else "forest").caption()
    wish = ("--caption", scene.caption(), "--edited-caption", came, "--tau", 0.2, "--tau", 0.8)
    told = command("edit", photo, *wish, "--out", out / "edits", "--profile", "still", "--json")
    return [json.loads(line) for line in told.splitlines()]


def factor(page: Sequence[str]) -> Told:
    """Judged by its own judge, offered and with its examples."""
    edited = (SUMMER.replace("summer", "winter"), SUMMER.replace("summer", "muddy"))
    return {
        "objections": [objection(SUMMER, words, "season") for words in edited],
        "examples": examples("season", 3),
        "offered": "season" in page,
    }


def recipe() -> Told:
    """Another head than the paper's recipe gives, alone and in a stack of heads."""
    chance = torch.Generator().manual_seed(0)
    targets = torch.arange(40) % 2
    part = Part(torch.randn(40, 4, generator=chance) + targets[:, None], targets)
    theta_0 = (torch.randn(2, 4, generator=chance), torch.zeros(2))
    keys = tuple(map(str, range(20)))
    bank = Bank(
        photo_keys=keys, labels={key: str(int(key) % 2) for key in keys}, photo=torch.arange(20).numpy(),
        factors=("subject",) * 20, photos=part.features[20:], kinds={"counterfactual": part.features[:20, None]},
        targets=targets,
    )  # fmt: skip
    drawn = DrawnRows(bank, "counterfactual", [bank.rows(range(16))], [bank.rows(range(16, 20))])

    def heads(method: str) -> tuple[torch.Tensor, torch.Tensor]:
        made = Recipe(method=method, max_epochs=2, learning_rate=0.05)
        return train_head(part, part, theta_0, recipe=made).theta[0], refit(drawn, theta_0, made, [0.05]).weight

    differ = [not torch.equal(*both) for both in zip(heads("doubtful"), heads("counterfactual"), strict=True)]
    return {"differs": differ[0], "refitted": differ[1]}


def choices(built: gr.Blocks, name: str) -> dict[str, str]:
    """What a component of the pages offers: value -> words."""
    (block,) = (block for block in built.blocks.values() if getattr(block, "elem_id", None) == name)
    return {value: words for words, value in block.choices}  # type: ignore[attr-defined]


def main() -> None:
    """Ask after everything."""
    here = Path.cwd()
    profile = load_profile("still")
    store = Store.existing(here / "data")
    desk = Desk(models=load(profile, "cpu"), store=store)
    built = build_app(desk)
    built.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **serving())
    statuses = [httpx.get(f"{built.local_url}{path}").status_code for path in ("about", "nowhere")]

    studies = (store.load_study(study.key, study.classifier) for study in store.studies())
    older = [edit for study in studies if study for edit in study.counterfactuals]
    facts = facts_markup(older[0], Settings())
    row = re.search(r"<td[^>]*>distance from old words</td><td>(.*?)</td><td>(.*?)</td>", facts)
    assert row is not None
    rows = edits(here)
    scores = rows[-1]["scores"]
    missed = [sentence for sentence in rows[-1]["missed"] if "distance" in sentence]  # type: ignore[attr-defined]
    answer = {
        "here": str(Path(explorer.__file__).parents[1]),
        "a factor": factor(list(choices(built, "factors"))),
        "a score or gate on pictures": {
            "measured": scores["leaves_source"],  # type: ignore[index]
            "missed": missed[0],
            "facts": row.groups(),
            "older": [*{edit.scores.kept["leaves_source"] for edit in older}],
            "offered": "leaves_source" in choices(built, "score"),
            "edits": len(store.entries()) > 0,
        },
        "an inversion": {
            "offered": choices(built, "inversion")["still"],
            "help": "still: no noise at all" in command("edit", "--help"),
            "kinds": [entry["kind"] for entry in rows],
        },
        "a recipe": {
            "offered": choices(built, "methods")["doubtful"],
            "help": "doubtful: what is doubtful counts more" in command("reinforce", "--help"),
            **recipe(),
        },
        "a profile": {
            "known": "still" in known_profiles(),
            "description": profile.description,
            "inversion": profile.settings.inversion,
        },
        "a page": {
            "statuses": statuses,
            "unlinked": len((*PAGES, *UNLISTED))
            - sum('href="./about"' in str(getattr(block, "value", "")) for block in built.blocks.values()),
            "drawn": any(getattr(block, "elem_id", None) == "about" for block in built.blocks.values()),
        },
    }
    built.close()
    desk.close()
    store.close()
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
