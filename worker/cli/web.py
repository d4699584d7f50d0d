"""The verb that answers over HTTP: web."""

import asyncio
from importlib.util import find_spec
from typing import Final

from worker.cli.door import LOOK, Config, app, talk
from worker.errors import ConfigError
from worker.observe import log
from worker.settings import Settings, load_settings

_NEEDED: Final = ("fastapi", "nicegui", "uvicorn")


@app.command(rich_help_panel=LOOK)
def web(*, config: Config = None) -> None:
    """Serve the dashboard and the API that say what trades and why not, until SIGTERM or Ctrl-C: a process beside `run`.

    It reads the database, and acts only as `pause`, `resume`, `kill` and `arm` do, for whoever shows the token in
    POLYCOPY_WEB_TOKEN. It listens on the loopback alone; `[web]` in the settings says where. What it answers is
    described by /openapi.json.

        POLYCOPY_WEB_TOKEN=$(openssl rand -hex 32) polycopy-worker web

        curl http://127.0.0.1:8484/api/lt/execution-audit
    """
    settings = load_settings(config)
    log.configure(settings.log)
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(f"`web` needs {' and '.join(missing)}: install polycopy-worker[web].")
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from worker.verbs.looking import open_reports  # noqa: PLC0415 - Supabase's client takes a second to import
    from worker.web.server import serve  # noqa: PLC0415 - as above, and what it needs is an extra

    async with open_reports(settings) as reports:
        await serve(settings, reports, on_ready=lambda address: talk.print(f"listening on {address}"))
