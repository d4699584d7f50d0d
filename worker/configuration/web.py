"""Settings of `polycopy-worker web`: where it listens, under which names, and what it answers without a token."""

from ipaddress import ip_address
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from worker.configuration.kinds import Group

_LOOPBACK_NAME: Final = "localhost"


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens there."""
    if host.lower() == _LOOPBACK_NAME:
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host_name(value: str) -> str:
    if not value or set(value) & set("/@ \t,"):
        raise ValueError("must be a name such as worker.example.org, without scheme, port and path")
    return value.lower()


def _origin(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if scheme not in {"http", "https"} or not rest or set(rest) & set("/@ \t,"):
        raise ValueError("must be an origin such as https://example.org, without a path")
    return value.lower()


class WebSettings(Group):
    """`hosts`: further names that a browser may know it by, as behind a proxy. `origins`: other sites whose pages may ask.

    Whoever reaches another address than the loopback's is a stranger: there, reads need the token too.
    """

    host: Annotated[str, AfterValidator(_host_name)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8484
    reads_need_token: bool = False
    hosts: tuple[Annotated[str, AfterValidator(_host_name)], ...] = ()
    origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    feed_every_s: Annotated[float, Field(ge=0.05, le=10, allow_inf_nan=False)] = 0.5
    feeds_most: Annotated[int, Field(ge=1, le=10_000)] = 200

    @model_validator(mode="after")
    def _strangers_show_a_token(self) -> Self:
        if not self.reads_need_token and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is open to other machines: set reads_need_token = true as well, or keep the loopback"
            )
        return self
