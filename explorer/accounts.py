"""Who may sign in, and whether a server may do without: accounts come from a file or the environment.

Each account has its own name, by which analysts are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from explorer.middleware import is_shared
from pipeline.errors import SettingsError, display_name

ON_COMMAND_LINE = (
    "What --auth says can be read by everybody on this computer (in the list of processes); "
    "use --auth-file FILE or the environment variable EXPLORER_AUTH instead.\n"
)
OPEN = "Everybody who reaches this address can use the explorer, as was asked for; nobody can add classifiers.\n"

Account = tuple[str, str]  # name, password


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """What was said of who may come in."""

    host: str  # address to listen on
    line: str = ""  # USER:PASSWORD of the command line
    file: str = ""  # of accounts, one USER:PASSWORD a line
    environment: str = ""  # the same as text
    is_open: bool = False  # everybody may

    def accounts(self) -> tuple[Account, ...]:
        """Return every account; none where everybody may come in.

        Raises `SettingsError` for accounts that cannot be used, and for an address that others reach without any.
        """
        given = (*_read(self.file), *_accounts(self.environment, "EXPLORER_AUTH"), *_accounts(self.line, "--auth"))
        names = [name for name, _ in given]
        if len(set(names)) < len(names):
            raise SettingsError("Two accounts have the same name; give every analyst one of their own.")
        if not is_shared(self.host):
            return given
        if self.line:
            raise SettingsError(f"Others can reach this server. {ON_COMMAND_LINE.strip()}")
        if not given and not self.is_open:
            raise SettingsError(
                f"Others can reach {self.host} or a name that leads here, and nobody would be asked who they are; give "
                "accounts with --auth-file FILE or EXPLORER_AUTH, or let everybody in with --open (EXPLORER_OPEN=1)."
            )
        return given

    @property
    def notice(self) -> str:
        """Return what whoever starts the server should know; "" when there is nothing."""
        if self.line:
            return ON_COMMAND_LINE
        return OPEN if is_shared(self.host) and not (self.file or self.environment) else ""


def _read(file: str) -> tuple[Account, ...]:
    if not file:
        return ()
    name = display_name(Path(file))
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"The accounts in '{name}' cannot be read; give a text file in UTF-8."
        raise SettingsError(message, path=file) from error
    found = _accounts(text, name)
    if not found:
        raise SettingsError(f"'{name}' holds no account; write USER:PASSWORD, one a line.", path=file)
    return found


def _accounts(text: str, source: str) -> tuple[Account, ...]:
    """Return one account a line, without blank lines and those that begin with #. No message repeats a line."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, password = line.strip().partition(":")
        if not name.strip() or not password:
            raise SettingsError(f"Line {number} of {source} is no account; write USER:PASSWORD, such as ada:lovelace.")
        found.append((name.strip(), password))
    return tuple(found)
