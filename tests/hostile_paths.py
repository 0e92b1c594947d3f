"""Texts that would lead to a file, if anything took them for a path: every way of writing one that is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

NAMES = {
    "environment of the process": "/proc/self/environ",
    "root of the process": "/proc/self/root/etc/passwd",
    "open file of the process": "/proc/self/fd/0",
    "endless device": "/dev/zero",
    "random device": "/dev/urandom",
    "standard input": "/dev/stdin",
    "accounts of the system": "/etc/passwd",
    "climbing": "../../../../../../../../etc/passwd",
    "climbing in the middle": "a/../../../../../../../../etc/passwd",
    "dot": ".",
    "two dots": "..",
    "root": "/",
    "slashes": "////etc//passwd",
    "slash at the end": "/etc/passwd/",
    "home": "~/.ssh/id_rsa",
    "home of root": "~root/.bashrc",
    "variable": "$HOME/.bashrc",
    "Windows": "..\\..\\..\\windows\\win.ini",
    "drive": "C:\\windows\\win.ini",
    "UNC": "\\\\127.0.0.1\\share\\x",
    "UNC with slashes": "//127.0.0.1/share/x",
    "device of Windows": "\\\\.\\PhysicalDrive0",
    "CON": "CON",
    "NUL.txt": "NUL.txt",
    "stream": "a.txt::$DATA",
    "NUL": "/etc/passwd\0.png",
    "newline": "/etc/passwd\n.png",
    "address of a file": "file:///etc/passwd",
    "address of a file on a host": "file://localhost/etc/passwd",
    "address of the cloud": "http://169.254.169.254/latest/meta-data/",
    "local-dir": "local-dir:/etc",
    "overlong UTF-8": "..%c0%af..%c0%afetc/passwd",
    "4,000 characters": "/" + "a" * 4000,
    "300 folders": "a/" * 300 + "b",
    "wildcard": "/etc/pass*",
}


def paths(secret: Path, uploads: Path) -> Iterator[tuple[str, str]]:
    """(name, text) of each; some lead to `secret`, or there by the folder of uploads."""
    climbing = f"{'../' * 12}{str(secret).lstrip('/')}"
    yield from NAMES.items()
    yield "secret", str(secret)
    yield "secret, climbing", climbing
    yield "secret, by the uploads", f"{uploads}/../{secret.parent.name}/{secret.name}"
    yield "secret, by an upload that is not there", f"{uploads}/x/../../{secret.parent.name}/{secret.name}"
    yield "uploads, seen from outside", f"{uploads.parent}/x/../{uploads.name}"
    yield "secret as labels", f"resnet18 + {uploads}/x/../y/w.safetensors + {secret}"
    yield "secret as torchvision's labels", f"torchvision:resnet18 + {secret} + {secret}"
    yield "secret as a revision", f"hf-hub:a/b@{secret}"
    yield "secret, climbing as a revision", f"hf-hub:a/b@{climbing}"
    yield "link to the secret", f"{secret.parent}/link"
    yield "secret as an address", f"file://{secret}"
    yield "secret, encoded", quote(str(secret), safe="")
    yield "secret, encoded twice", quote(quote(str(secret), safe=""), safe="")
    yield "climbing, encoded", quote(climbing, safe="").replace(".", "%2e")
    yield "secret of the test set form", f"ood:x={secret}"
