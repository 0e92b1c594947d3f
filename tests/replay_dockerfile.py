"""Replays the Dockerfile's steps without a container engine: `python -m tests.replay_dockerfile`.

Copies what an image would hold to a clean folder, starts the Dockerfile's CMD there in its ENV, in what `docker run` of
docs/deployment.md sets, and in nothing else of the environment, waits for its HEALTHCHECK, and stops. Packages are
those of this Python; user and base image are not replayed. Status 0 when the health check passes.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "deployment.md"
PATIENCE = 300  # seconds


def copied(folder: Path) -> int:
    """Copies the committed files that .dockerignore does not name; how many."""
    ignored = (ROOT / ".dockerignore").read_text().split()
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    kept = [file for file in files if file and not any(fnmatch.fnmatch(file, f"{pattern}*") for pattern in ignored)]
    for file in kept:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    return len(kept)


def settings(dockerfile: str, page: str) -> dict[str, str]:
    """What the image and the documented `docker run` set."""
    of_image = " ".join(re.findall(r"^ENV (.*)$", dockerfile, re.M)).split()
    of_run = re.findall(r" -e (\w+)=(\S+)", re.findall(r"^docker run .*$", page, re.M)[0])
    return dict(pair.split("=", 1) for pair in of_image) | dict(of_run)


def main() -> int:
    """0 when the application answers as the Dockerfile's health check asks."""
    text = (ROOT / "Dockerfile").read_text()
    command = json.loads(re.findall(r"^CMD (\[.*\])$", text, re.M)[0])
    check = re.findall(r"^HEALTHCHECK .*CMD python -c \"(.*)\"$", text, re.M)[0]
    environment = settings(text, PAGE.read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="replay-") as place:
        folder, data = Path(place) / "app", Path(place) / "data"
        sys.stdout.write(f"{copied(folder)} files copied\n")
        environment |= {"EXPLORER_DATA": str(data), "HOME": place, "PATH": os.environ["PATH"]}
        command = [sys.executable, *(port if word == "7860" else word for word in command[1:])]
        started = time.monotonic()
        served = subprocess.Popen(command, cwd=folder, env=environment)
        try:
            while time.monotonic() - started < PATIENCE and served.poll() is None:
                asked = [sys.executable, "-c", check.replace("7860", port)]
                if subprocess.run(asked, env=environment, capture_output=True, check=False).returncode == 0:
                    sys.stdout.write(f"healthy after {time.monotonic() - started:.0f} s\n")
                    return 0
                time.sleep(1)
        finally:
            served.terminate()
            served.wait()
    sys.stdout.write("the health check did not pass\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
