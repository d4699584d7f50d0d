"""What a setting may be: the checked kinds of values that groups of settings are made of."""

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from worker.orders.terms import WalletAddress


def _web_address(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if scheme not in {"http", "https", "ws", "wss"} or not rest.strip("/"):
        raise ValueError("must be an address such as https://host or ws://host:port")
    return value.rstrip("/")


def _wallet_address(value: str) -> WalletAddress:
    text = value.lower()
    if len(text) != 42 or not text.startswith("0x") or set(text[2:]) - set("0123456789abcdef"):
        raise ValueError("must be 0x and 40 hexadecimal digits")
    return WalletAddress(text)


def _unless_off(value: Any) -> Any:
    return None if value == "off" else value


OffIsNone = BeforeValidator(_unless_off)  # TOML has no word for nothing
Url = Annotated[str, AfterValidator(_web_address)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Address = Annotated[WalletAddress, AfterValidator(_wallet_address)]


class Group(BaseModel):
    """A table of the configuration file. An unknown key in it is an error."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)
