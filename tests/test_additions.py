"""The table "How to add something" is true: one of each kind is added to a copy of the checkout, where it says so.

All are asked after in one process of the copy (`tests/added.py`), with the tiny profile and a data folder of an earlier
version.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TABLE = (ROOT / "docs" / "development.md").read_text(encoding="utf-8").partition("## How to add something")[2]
CHANGED = ("profiles", "perturbations.jsonl")  # of assets; nothing else of it is written to

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Insertion:
    """What is written into a file behind some text of it; a new file where there is none to stand behind."""

    file: str
    text: str
    behind: str = ""

    def write(self, root: Path) -> None:
        """Change the file of this checkout."""
        file = root / self.file
        if not self.behind:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.text, encoding="utf-8")
            return
        text = file.read_text(encoding="utf-8")
        assert text.count(self.behind) == 1, (self.file, self.behind)
        file.write_text(text.replace(self.behind, self.behind + self.text), encoding="utf-8")


LAST_LINE = (ROOT / "assets" / "perturbations.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[-1]
EXAMPLE = {
    "caption": "a photo of a barn in a summer meadow",
    "label": "barn",
    "factor": "season",
    "edited_caption": "a photo of a barn in a winter meadow",
    "split": "train",
}
ADDITIONS = {
    "a factor": [
        Insertion(
            "pipeline/captions/factors.py",
            """
        Factor(
            name="season",
            instruction="Change only the season of the caption; keep every other word.",
            help="The time of the year: a summer meadow becomes a winter meadow.",
            judge=lambda place: "" if {*place.went, *place.came} <= {"summer", "winter"} else "that is no season",
        ),""",
            behind="    for factor in (",
        ),
        Insertion("assets/perturbations.jsonl", json.dumps(EXAMPLE) + "\n", behind=LAST_LINE),
    ],
    "a score or gate on pictures": [
        Insertion(
            "pipeline/scores.py",
            """
    leaves_source: float = _field(
        Score(
            name="distance from old words",
            short="old words",
            help="1 - cos(I', c): how far the edit is from the original caption",
            formula=lambda of: 1 - cosine(of.edited_image, of.caption),
            gate=Gate(bound=1.5),
        )
    )""",
            behind="            gate=Gate(bound=0.0, exceed=True),\n        )\n    )",
        ),
    ],
    "an inversion": [
        Insertion(
            "pipeline/editing/inversion.py",
            '    "still": InversionMethod(name="Still", help="no noise at all", find=still),\n',
            behind="METHODS = {\n",
        ),
        Insertion(
            "pipeline/editing/inversion.py",
            '''

def still(
    model: LatentDiffusion, latent: torch.Tensor, caption: torch.Tensor, settings: Settings, step: Step | None
) -> Path:
    """Stand still at the picture."""
    return latent.repeat(settings.num_inference_steps + 1, 1, 1, 1), None
''',
            behind="    return METHODS[settings.inversion]\n",
        ),
    ],
    "a recipe": [
        Insertion(
            "pipeline/reinforcement/recipes.py",
            '    "doubtful": LearningMethod(name="Doubtful first", help="what is doubtful counts more", '
            "weigh=lambda p, sizes: 1 - p),\n",
            behind="METHODS = {\n",
        ),
    ],
    "a profile": [
        Insertion(
            "assets/profiles/still.toml",
            'base = "tiny"\ndescription = "Stands still"\n\n[settings]\ninversion = "still"\nnum_inference_steps = 3\n',
        ),
    ],
    "a page": [
        Insertion("explorer/pages/about/__init__.py", '"""The About page."""\n'),
        Insertion(
            "explorer/pages/about/about.py",
            '''"""Page: what this is."""

import gradio as gr

from explorer.desk import Desk

TITLE, ROUTE = "About", "/about"


def build(demo: gr.Blocks, desk: Desk) -> None:
    """Draw the page into the current Blocks."""
    gr.HTML("What this is", elem_id="about")
''',
        ),
        Insertion("explorer/__init__.py", "from explorer.pages.about import about\n", behind="import Door\n"),
        Insertion("explorer/__init__.py", ", about", behind="= (explore, curate, insights, reinforce, jobs"),
    ],
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What the copy says of each kind, with everything added at once."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in ("explorer", "pipeline"):
        shutil.copytree(ROOT / folder, copy / folder)
    (copy / "assets").mkdir()
    for path in (ROOT / "assets").iterdir():
        place = copy / "assets" / path.name
        if path.name not in CHANGED:
            place.symlink_to(path)
        elif path.is_dir():
            shutil.copytree(path, place)
        else:
            shutil.copy(path, place)
    shutil.copytree(ROOT / "tests" / "data" / "folders" / "v5", copy / "data")
    for insertions in ADDITIONS.values():
        for insertion in insertions:
            insertion.write(copy)
    command = [sys.executable, "-P", str(ROOT / "tests" / "added.py")]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    finished = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    answer: dict[str, dict[str, object]] = json.loads(finished.stdout.splitlines()[-1])
    assert answer["here"] == str(copy)
    return answer


@pytest.mark.parametrize("kind", ADDITIONS)
def test_the_table_names_every_place_that_is_touched(kind: str) -> None:
    (row,) = re.findall(rf"^\| {kind} \|(.*)\|$", TABLE, re.M)
    places = re.findall(r"`([\w./]+)`", row)
    for insertion in ADDITIONS[kind]:
        assert any(insertion.file.startswith(place) for place in places if "/" in place), insertion.file


def test_a_factor_is_judged_offered_and_has_examples(found: dict[str, dict[str, object]]) -> None:
    assert found["a factor"] == {
        "objections": ["", "that is no season"],
        "examples": [[EXAMPLE["caption"], EXAMPLE["edited_caption"]]],
        "offered": True,
    }


def test_a_score_is_measured_gated_shown_and_unknown_in_older_folders(found: dict[str, dict[str, object]]) -> None:
    told = found["a score or gate on pictures"]
    assert 0 <= told["measured"] <= 1.5  # type: ignore[operator]
    assert re.fullmatch(r"distance from old words \d\.\d\d is below 1\.50", str(told["missed"]))
    assert told["facts"] == ["–", "≥ 1.50"]
    assert (told["older"], told["offered"], told["edits"]) == ([None], True, True)


def test_an_inversion_is_chosen_by_a_profile_and_made(found: dict[str, dict[str, object]]) -> None:
    told = found["an inversion"]
    assert (told["offered"], told["help"]) == ("Still: no noise at all", True)
    assert told["kinds"] == ["reconstruction", "counterfactual", "counterfactual"]


def test_a_recipe_trains_otherwise_and_is_offered(found: dict[str, dict[str, object]]) -> None:
    told = found["a recipe"]
    assert told == {"offered": "Doubtful first", "help": True, "differs": True, "refitted": True}


def test_a_profile_is_known_by_its_name(found: dict[str, dict[str, object]]) -> None:
    assert found["a profile"] == {"known": True, "description": "Stands still", "inversion": "still"}


def test_a_page_is_served_linked_and_let_in(found: dict[str, dict[str, object]]) -> None:
    assert found["a page"] == {"statuses": [200, 404], "unlinked": 0, "drawn": True}
