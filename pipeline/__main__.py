"""The command line: caption, perturb, classify, edit, stress, weakness, quality, export, reinforce, promote,
reproduce, train-perturber, doctor, fetch, store.

Presentation only: every command asks the workflow and turns what comes back into rows, one JSON object a line with
--json, a table without. Rows go to standard output, progress and messages to standard error. What a person can mend
is told in one sentence with exit status 2; a run that left pictures out ends with status 1.
"""

from __future__ import annotations

import typer

from pipeline.commands import analysis, models, pictures, reinforcement, reproduction, store
from pipeline.commands.terminal import Sentences

app = typer.Typer(cls=Sentences, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
for group in (pictures, analysis, reinforcement, reproduction, models):
    app.add_typer(group.app)
app.add_typer(store.app, name="store")


@app.callback()
def about() -> None:
    """Find what confuses an image classifier with counterfactual pictures, and reinforce it with them."""


if __name__ == "__main__":
    app(prog_name="python -m pipeline")
