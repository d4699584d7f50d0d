"""What both readers of public answers need: shapes that ignore what they do not know, and an error that names the place."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.errors import ExchangeMalformed


class Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


Shape = TypeVar("Shape", bound=Wire)


def parse(shape: type[Shape], answer: Any, path: str) -> Shape:
    """Raises `ExchangeMalformed` naming the first field that is wrong."""
    try:
        return shape.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ExchangeMalformed(f"GET {path} answered an unknown shape: {where}: {first['msg']}.") from error
