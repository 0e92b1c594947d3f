"""The command line as a whole."""

import subprocess
import sys
from pathlib import Path


def test_help_answers_without_the_model_libraries() -> None:
    code = (
        "import sys, pipeline.__main__, pipeline.workflow, pipeline.analysis.weakness; "
        "import pipeline.store.store, pipeline.curation.selection; "
        "heavy = {'torch', 'diffusers', 'transformers', 'open_clip', 'timm', 'sentence_transformers', 'gradio'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert result.stdout.strip() == "[]"
