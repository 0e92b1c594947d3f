"""Starts the Counterfactual Explorer: flags, profile, pages, server."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import wait
from pathlib import Path

PATIENCE = 8.0  # seconds for which the page waits for its models, so that small ones are there at the first click
OPEN = "WARNING: everybody who reaches this address can use the explorer; give --auth USER:PASSWORD.\n"


def flags() -> argparse.ArgumentParser:
    """The command line; nothing heavy is imported before it is understood."""
    parser = argparse.ArgumentParser(description="Serves the Counterfactual Explorer to a browser.")
    profile, data = os.environ.get("EXPLORER_PROFILE", "tiny"), os.environ.get("EXPLORER_DATA", "./data")
    host, auth = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), os.environ.get("EXPLORER_AUTH", "")
    parser.add_argument("--profile", default=profile, help="a name in assets/profiles, or a TOML file (default: tiny)")
    parser.add_argument("--data", default=data, help="folder of all that is kept (default: $EXPLORER_DATA or ./data)")
    where = os.environ.get("EXPLORER_DATABASE", "")
    parser.add_argument("--database", default=where, metavar="URL", help="PostgreSQL for the records (default: a file)")
    parser.add_argument("--host", default=host, help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: 7860)")
    parser.add_argument("--device", default="", help="such as cpu or cuda (default: the best there is)")
    empty = os.environ.get("EXPLORER_EMPTY", "") not in ("", "0")
    parser.add_argument("--empty", action="store_true", default=empty, help="start a new data folder without the demo")
    parser.add_argument("--auth", default=auth, metavar="USER:PASSWORD", help="ask visitors for this name and password")
    return parser


def serve(options: argparse.Namespace) -> None:
    """Builds the pages over the profile's models and the data folder, and blocks until interrupted."""
    from explorer import build_app, serving, starting
    from explorer.jobs import Desk
    from pipeline.demo import is_new
    from pipeline.models import load
    from pipeline.profiles import load_profile
    from pipeline.store import Store

    (models := load(load_profile(options.profile), options.device)).check()
    auth = tuple(options.auth.split(":", 1)) if options.auth else None
    new = is_new(Path(options.data))
    store = Store(Path(options.data), options.database)
    models.adopt(store.root)
    desk = Desk(models=models, store=store)
    opened = desk.worker.submit(models.warm)
    if new and not options.empty:
        opened = starting.begin(desk)
    app = build_app(desk)
    wait([opened], PATIENCE)
    desk.runner.open()
    try:
        app.launch(server_name=options.host, server_port=options.port, auth=auth, **serving(options.host))
    finally:
        desk.close()


def main() -> int:
    """0 after serving; 2 when something that was given cannot be used."""
    options = (parser := flags()).parse_args()
    if options.auth and not all(options.auth.partition(":")):
        parser.error("--auth needs a name and a password, such as --auth ada:lovelace.")
    if options.host not in ("127.0.0.1", "localhost", "::1") and not options.auth:
        sys.stderr.write(OPEN)
    from pipeline.errors import PipelineError

    try:
        serve(options)
    except PipelineError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
