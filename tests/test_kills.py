"""kill -9 at a few random moments; `python -m tests.kills --rounds 200` does it as often as one likes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 6  # two of every kind of job


def test_nothing_that_was_acknowledged_is_lost_and_the_job_goes_on() -> None:
    command = [sys.executable, "-m", "tests.kills", "--rounds", str(ROUNDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{ROUNDS} kills in ")
    assert " 0 lost, 0 twice, 0 acts half applied, 0 jobs lost, 0 faults" in done.stdout
