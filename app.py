"""The start of the Counterfactual Explorer: flags, profile, pages, server."""

from __future__ import annotations

import argparse
import errno
import gc
import os
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import wait
from pathlib import Path

PATIENCE = 8.0  # seconds for which the page waits for its models, so that small ones are there at the first click


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; nothing heavy is imported before it is understood."""
    parser = argparse.ArgumentParser(description="Serves the Counterfactual Explorer to a browser.")
    profile, data = os.environ.get("EXPLORER_PROFILE", "tiny"), os.environ.get("EXPLORER_DATA", "./data")
    host, accounts = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), os.environ.get("EXPLORER_AUTH_FILE", "")
    parser.add_argument("--profile", default=profile, help="a name in assets/profiles, or a TOML file (default: tiny)")
    parser.add_argument("--data", default=data, help="folder of all that is kept (default: $EXPLORER_DATA or ./data)")
    where = os.environ.get("EXPLORER_DATABASE", "")
    parser.add_argument("--database", default=where, metavar="URL", help="PostgreSQL for the records (default: a file)")
    parser.add_argument("--host", default=host, help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: 7860)")
    parser.add_argument("--device", default="", help="such as cpu or cuda (default: the best there is)")
    empty = os.environ.get("EXPLORER_EMPTY", "") not in ("", "0")
    parser.add_argument("--empty", action="store_true", default=empty, help="start a new data folder without the demo")
    models, limit = os.environ.get("EXPLORER_MODELS", ""), os.environ.get("EXPLORER_FETCH_LIMIT", "4")
    where = "folder of classifiers that visitors may choose from (default: models in the data folder)"
    parser.add_argument("--models", default=models, metavar="DIR", help=where)
    most = "GB that a visitor may have fetched for one classifier; 0 for none (default: 4)"
    parser.add_argument("--fetch-limit", type=_gigabytes, default=limit, metavar="GB", help=most)
    who = "accounts, one USER:PASSWORD a line; so does $EXPLORER_AUTH"
    parser.add_argument("--auth-file", default=accounts, metavar="FILE", help=who)
    seen = "one account, on your own computer: the command line can be read by everybody on it"
    parser.add_argument("--auth", default="", metavar="USER:PASSWORD", help=seen)
    # Who sees a Space is set in the Space itself.
    is_open = os.environ.get("EXPLORER_OPEN", "") not in ("", "0") or bool(os.environ.get("SPACE_ID"))
    everybody = "let everybody in who reaches the address, without accounts"
    parser.add_argument("--open", action="store_true", default=is_open, help=everybody)
    return parser


def _gigabytes(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e6:
        raise ValueError("out of range")
    return value


def _refuse_port(host: str, port: int) -> None:
    """Raise `SettingsError` for an address that cannot be listened on, before anything is opened."""
    from pipeline.errors import SettingsError

    if not 0 <= port < 2**16:
        raise SettingsError(f"--port is {port}; give a number from 0 to 65535.")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"Another program listens on port {port}; give another one with --port.") from error
        why = error.strerror or error
        raise SettingsError(f"{host}:{port} cannot be listened on ({why}); change --host or --port.") from error


def serve(options: argparse.Namespace, accounts: Sequence[tuple[str, str]]) -> None:
    """Build the pages over the profile's models and the data folder, and block until interrupted."""
    from explorer import build_app, serving
    from explorer.desk import Desk
    from explorer.middleware import is_shared
    from explorer.pages.explore import starting
    from pipeline.classifiers.promotion import unavailable_names
    from pipeline.models.loader import load
    from pipeline.profiles import load_profile
    from pipeline.store.store import Store
    from pipeline.tasks import studio
    from pipeline.tasks.demo import is_new

    folder = Path(options.models) if options.models else None
    (models := load(load_profile(options.profile), options.device, folder)).check()
    new = is_new(Path(options.data))
    store = Store(Path(options.data), options.database)
    models.adopt(store.root)
    for name in unavailable_names(store.root, folder):
        sys.stderr.write(f"The classifier '{name}' was added by its path, or is gone; name it in a profile.\n")
    limit = int(options.fetch_limit * 1e9)
    shared = is_shared(options.host)
    desk = Desk(models=models, store=store, shared=shared, model_folder=folder, fetch_limit=limit)
    opened = desk.worker.submit(models.warm)
    if new and not options.empty:
        opened = starting.bring_demo(desk)
    else:
        starting.claim_demo(desk)
    desk.worker.submit(lambda: studio.refresh_classifiers(models, store))
    app = build_app(desk)
    wait([opened], PATIENCE)
    desk.open()
    _settle()
    try:
        app.launch(
            server_name=options.host, server_port=options.port, auth=list(accounts) or None, **serving(options.host)
        )
    finally:
        desk.close()


def _settle() -> None:
    """Spare the garbage collector what the start has made and what stays: the libraries and the pages.

    A full collection over these objects takes half a second, in which no page gets an answer.
    """
    gc.collect()
    gc.freeze()


def main() -> int:
    """Return 0 after serving, 2 when something that was given cannot be used."""
    options = build_parser().parse_args()
    from explorer.accounts import Entrance
    from pipeline.errors import PipelineError, SettingsError, display_name

    entrance = Entrance(
        host=options.host,
        line=options.auth,
        file=options.auth_file,
        environment=os.environ.get("EXPLORER_AUTH", ""),
        is_open=options.open,
    )
    try:
        _refuse_port(options.host, options.port)
        accounts = entrance.accounts()
        if options.models and not Path(options.models).is_dir():
            name = display_name(Path(options.models))
            raise SettingsError(f"There is no folder '{name}'; give --models one that is there.", path=options.models)
        sys.stderr.write(entrance.notice)
        serve(options, accounts)
    except PipelineError as error:
        sys.stderr.write(f"{error.in_full()}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
