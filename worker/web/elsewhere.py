"""What is asked of the API and is not there: told as the API tells errors, whatever pages are laid over the rest.

A path that the document knows, asked by another method, is 405 with the methods that it takes; any other is 404.
"""

import re
from functools import cached_property
from typing import Final

from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

ROOT: Final = "/api"


class Elsewhere:
    """An ASGI application, mounted at `ROOT` behind all routes."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self._methods_of(str(scope["path"]))
        if methods:
            told = {"error": f"This path takes {' and '.join(methods)}."}
            answer = JSONResponse(told, status_code=405, headers={"Allow": ", ".join(methods)})
        else:
            answer = JSONResponse({"error": "There is no such path: see /openapi.json."}, status_code=404)
        await answer(scope, receive, send)

    def _methods_of(self, path: str) -> list[str]:
        return sorted(method for known, methods in self._paths for method in methods if known.fullmatch(path))

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], list[str]]]:
        return [
            (compile_path(path)[0], [method.upper() for method in operations])
            for path, operations in self._app.openapi()["paths"].items()
        ]
