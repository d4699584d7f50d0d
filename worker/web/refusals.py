"""How a request that is not what it may be is refused: which field, where, what is wrong, and an example that would do.

Examples are those of the API's own document, so a sentence here never promises what a route does not take.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request

_PLACES: Final = {"query": "the query", "path": "the path", "header": "the headers", "body": "the body"}
_SHOWN_MOST: Final = 60  # characters of a value


def sentence(request: Request, error: RequestValidationError) -> str:
    """All that is wrong, in a sentence each."""
    route = request.scope.get("route")
    told = [_one(one, route if isinstance(route, APIRoute) else None) for one in error.errors()]
    return " ".join(dict.fromkeys(told))


def _one(mistake: dict[str, Any], route: APIRoute | None) -> str:
    place, *names = (str(part) for part in mistake["loc"])
    if place == "body":
        return _of_body(mistake, names, _body_example(route))
    name = ".".join(names)
    example = _parameter_example(route, name)
    such = "" if example is None else f", such as {name}={example}"
    if mistake["type"] == "missing":
        return f"`{name}` is missing in {_PLACES.get(place, place)}: add it{such}."
    return (
        f"`{name}` = {_shown(mistake)} in {_PLACES.get(place, place)} is refused: {_problem(mistake)}{such}."
    )


def _of_body(mistake: dict[str, Any], names: list[str], example: str) -> str:
    send = f"send `Content-Type: application/json` and a body such as {example}"
    match mistake["type"]:
        case "json_invalid":
            why = mistake.get("ctx", {}).get("error", "it cannot be read")
            return f"The body is not JSON ({why}, at character {names[-1] if names else 0}): {send}."
        case "missing" if not names:
            return f"There is no body: {send}."
        case "missing":
            return f"`{'.'.join(names)}` is missing in the body: {send}."
        case _ if not names:
            return f"The body is not a JSON object: {send}."
    return f"`{'.'.join(names)}` = {_shown(mistake)} in the body is refused: {_problem(mistake)}; {send}."


def _problem(mistake: dict[str, Any]) -> str:
    """Pydantic's own words, as the middle of a sentence."""
    words = str(mistake["msg"])
    return words[:1].lower() + words[1:]


def _shown(mistake: dict[str, Any]) -> str:
    value = mistake.get("input")
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN_MOST else f"a value of {len(str(value))} characters"


def _body_example(route: APIRoute | None) -> str:
    """The smallest body that the route takes."""
    for field in route.dependant.body_params if route is not None else ():
        for model in _models(field.field_info.annotation):
            schema = model.model_json_schema()
            wanted = schema.get("required") or list(schema["properties"])
            told = {name: schema["properties"][name].get("examples", ["..."])[0] for name in wanted}
            return json.dumps(told)
    return "{}"


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    """The models that a parameter may be, also where it may be none."""
    for each in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each


def _parameter_example(route: APIRoute | None, name: str) -> Any:
    if route is None:
        return None
    known = (*route.dependant.query_params, *route.dependant.path_params)
    examples = next((one.field_info.examples for one in known if one.alias == name), None)
    return examples[0] if examples else None
