"""The API's own document as a page: what may be asked, with what, and an answer to each, out of `/openapi.json`.

Drawn here, because the usual viewers come from other servers.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nicegui import ui

from worker.web.dashboard.drawn import Table, columns
from worker.web.dashboard.frame import panel

_TITLES: Final = {"reads": "What may be read", "acts": "What may be done, with the token"}
_JSON: Final = "application/json"
_NAMED: Final = "LT_VALUE"  # as in the examples
_TAKES_NONE: Final = "It takes no parameters."
_BEARER: Final = "Authorization: Bearer $POLYCOPY_WEB_TOKEN"


@dataclass(frozen=True, slots=True)
class Operation:
    """One of the document's, taken apart. `body`, `answer`: an example of each; "": there is none."""

    method: str
    path: str
    tag: str
    says: str
    needs_token: bool
    parameters: list[dict[str, str]]
    body: str
    answer: str

    @property
    def command(self) -> str:
        """What to type, but for the address."""
        words = ["curl"]
        if self.method != "GET":
            words.append(f"-X {self.method}")
        if self.needs_token:
            words.append(f'-H "{_BEARER}"')
        if self.body:
            words.append(f"-H 'Content-Type: {_JSON}' -d '{self.body}'")
        return " ".join(words)


def operations_of(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Every operation of an OpenAPI document of ours."""
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            (answer,) = told["responses"]["200"]["content"].values()
            yield Operation(
                method=method.upper(),
                path=path,
                tag=told["tags"][0],
                says=told["description"],
                needs_token={} not in told["security"],
                parameters=[_parameter(one) for one in told.get("parameters", ())],
                body=_body(told, schemas),
                answer=answer.get("example") or json.dumps(_example(answer["schema"], schemas), indent=2),
            )


def show_manual(document: Mapping[str, Any], address: str) -> None:
    """`address`: under which this is asked, without a path."""
    known = list(operations_of(document))
    for tag, title in _TITLES.items():
        with panel(title, marker=f"manual-{tag}"):
            for one in (each for each in known if each.tag == tag):
                _show(one, address)


def _show(one: Operation, address: str) -> None:
    path = one.path.replace("{strategy_id}", _NAMED)
    first, _, _ = one.says.partition("\n")
    with (
        ui.expansion(f"{one.method} {one.path}", caption=first)
        .classes("w-full")
        .props("dense switch-toggle-side"),
        ui.column().classes("w-full gap-2 min-w-0"),
    ):
        ui.label(one.says).classes("text-sm whitespace-pre-line")
        titles = (("name", "Parameter"), ("place", "In"), ("takes", "Takes"), ("says", ""))
        names = [name for name, _ in titles]
        Table(columns(*titles, left=names), _TAKES_NONE, wraps=True).show(one.parameters)
        ui.code(f"{one.command} {address}{path}", language="sh").classes("w-full")
        ui.code(one.answer, language="text" if one.path.endswith("/feed") else "json").classes("w-full")


def _parameter(told: Mapping[str, Any]) -> dict[str, str]:
    schema = told["schema"]
    kinds = [one.get("type", "") for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    least, most = schema.get("minimum"), schema.get("maximum")
    bounds = "" if least is None and most is None else f" from {least} to {most}"
    default = f", else {json.dumps(schema['default'])}" if "default" in schema else ""
    return {
        "key": told["name"],
        "name": told["name"],
        "place": told["in"],
        "takes": f"{' or '.join(kinds)}{bounds}{default}",
        "says": told.get("description", ""),
    }


def _body(told: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """The smallest body that it takes; "" where it needs none."""
    asked = told.get("requestBody", {})
    if not asked.get("required"):
        return ""
    schema = schemas[_name(asked["content"][_JSON]["schema"])]
    return json.dumps({name: schema["properties"][name]["examples"][0] for name in schema["required"]})


def _example(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    return schemas[_name(schema)]["examples"][0]


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]
