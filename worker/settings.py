"""What the operator may set: `config/worker.toml` < environment < systemd credentials.

Every value is checked once, here, at start. A wrong key, value or combination becomes one sentence that names
the thing, the value and the fix. Secrets come from the environment or from credentials, never from the file.
Environment: `POLYCOPY_<GROUP>__<NAME>`, such as `POLYCOPY_SWEEP__EVERY_S=0.5`, and the usual `SUPABASE_*` names.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeGuard

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from worker.errors import ConfigError, CredentialError
from worker.orders.terms import Mode, WalletAddress

ENV_PREFIX = "POLYCOPY_"
DEFAULT_CONFIG = Path("config/worker.toml")
SECRET_NAMES = ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY", "SUPABASE_DB_URL")
# Read before the settings are: where the file is.
CONFIG_VARIABLE = "POLYCOPY_CONFIG"


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


Url = Annotated[str, AfterValidator(_web_address)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Address = Annotated[WalletAddress, AfterValidator(_wallet_address)]


class Group(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)


class FeedSettings(Group):
    """The Realtime subscription: a wake-up, never the truth."""

    enabled: bool = True
    join_timeout_s: PositiveSeconds = 10.0
    live_timeout_s: PositiveSeconds = 15.0
    renew_after_s: PositiveSeconds = 6 * 3600.0
    degraded_after_s: PositiveSeconds = 10.0
    backoff_first_s: PositiveSeconds = 0.2
    backoff_most_s: PositiveSeconds = 5.0
    ping_every_s: PositiveSeconds = 5.0


class SweepSettings(Group):
    """The anti-join that finds whatever has no decision yet: the truth."""

    every_s: PositiveSeconds = 1.0
    every_degraded_s: PositiveSeconds = 0.5
    batch: Annotated[int, Field(ge=1, le=1000)] = 500
    window_s: PositiveSeconds = 900.0
    whole_every_s: PositiveSeconds = 60.0
    catch_up_after_live_s: tuple[PositiveSeconds, ...] = (2.0, 10.0)


class SignalSettings(Group):
    fresh_for_s: PositiveSeconds = 120.0
    max_age_s: PositiveSeconds = 24 * 3600.0
    concurrency: Annotated[int, Field(ge=1, le=512)] = 64
    queue_capacity: Annotated[int, Field(ge=16)] = 20_000


class PriceSettings(Group):
    """`min_tick_max_pct`: one tick above the base is allowed only within this many percent of it."""

    min_tick_max_pct: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(20)
    gtd_lifetime_s: Annotated[float, Field(ge=180)] = 600.0


class ExchangeSettings(Group):
    """Every address that an order, a look-up or a stream goes to. Defaults are Polymarket's own."""

    clob_url: Url = "https://clob.polymarket.com"
    gamma_url: Url = "https://gamma-api.polymarket.com"
    data_url: Url = "https://data-api.polymarket.com"
    user_ws_url: Url = "wss://ws-subscriptions-clob.polymarket.com/ws/user"
    market_ws_url: Url = "wss://ws-subscriptions-clob.polymarket.com/ws/market"
    submit_timeout_s: PositiveSeconds = 12.0
    read_timeout_s: PositiveSeconds = 5.0
    market_ttl_s: PositiveSeconds = 300.0
    keep_warm_every_s: PositiveSeconds = 12.0
    # The exchange's Standard tier takes 40 orders/s with bursts of 60, and 50 reads/s: a margin is kept.
    orders_per_s: Annotated[int, Field(ge=1)] = 38
    orders_burst: Annotated[int, Field(ge=1)] = 56
    lookups_per_s: Annotated[int, Field(ge=1)] = 20
    background_per_s: Annotated[int, Field(ge=1)] = 20


class WalletSettings(Group):
    """A wallet to trade with. `key` names where the private key is: `env:NAME` or `credential:NAME`."""

    address: Address
    type: Literal["eoa"] = "eoa"
    key: Annotated[str, Field(pattern=r"^(env|credential):[A-Za-z0-9_.-]+$")]


class LeaseSettings(Group):
    """One worker submits for a wallet. It stops sending `margin_s` before its right may have passed on."""

    ttl_s: PositiveSeconds = 15.0
    margin_s: PositiveSeconds = 3.0
    renew_every_s: PositiveSeconds = 4.0


class BalanceSettings(Group):
    refresh_every_s: PositiveSeconds = 10.0
    max_age_s: PositiveSeconds = 60.0


class PendingSettings(Group):
    """Look-ups of orders that are not settled: `first_s` after the answer, doubling to `most_s`."""

    tick_s: PositiveSeconds = 0.25
    refresh_every_s: PositiveSeconds = 5.0
    first_s: PositiveSeconds = 0.5
    most_s: PositiveSeconds = 30.0
    sends_most: Annotated[int, Field(ge=1, le=10)] = 3
    lost_after_lookups: Annotated[int, Field(ge=2)] = 6
    lost_after_s: PositiveSeconds = 600.0


class PaperSettings(Group):
    bankroll_usd: Annotated[Decimal, Field(gt=0)] = Decimal(10_000)


class LogFormat(StrEnum):
    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class LogSettings(Group):
    format: LogFormat = LogFormat.AUTO
    level: Literal["debug", "info", "warning", "error"] = "info"


class UnknownWallets(StrEnum):
    """What to do with signals for a wallet that this worker has no key for."""

    SKIP = "skip"  # record `wallet_not_configured`: this is the only worker
    LEAVE = "leave"  # another worker has the key


class Settings(BaseSettings):
    """The whole of it. Frozen: a change of settings is a restart."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, populate_by_name=True
    )

    mode: Mode = Mode.PAPER
    worker_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{0,80}$")] = ""
    unknown_wallets: UnknownWallets = UnknownWallets.SKIP
    start_patience_s: PositiveSeconds = 5.0
    stop_drain_s: PositiveSeconds = 30.0
    database_timeout_s: PositiveSeconds = 5.0
    supabase_url: Annotated[Url, Field(validation_alias="SUPABASE_URL")]
    supabase_key: SecretStr = Field(
        validation_alias=AliasChoices("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY")
    )
    supabase_db_url: SecretStr | None = Field(default=None, validation_alias="SUPABASE_DB_URL")
    wallets: tuple[WalletSettings, ...] = ()

    feed: FeedSettings = FeedSettings()
    sweep: SweepSettings = SweepSettings()
    signal: SignalSettings = SignalSettings()
    price: PriceSettings = PriceSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    lease: LeaseSettings = LeaseSettings()
    balance: BalanceSettings = BalanceSettings()
    pending: PendingSettings = PendingSettings()
    paper: PaperSettings = PaperSettings()
    log: LogSettings = LogSettings()

    @field_validator("wallets")
    @classmethod
    def _wallets_are_distinct(cls, wallets: tuple[WalletSettings, ...]) -> tuple[WalletSettings, ...]:
        if len({wallet.address for wallet in wallets}) != len(wallets):
            raise ValueError("names the same address twice")
        return wallets

    @field_validator("lease")
    @classmethod
    def _lease_leaves_room(cls, lease: LeaseSettings) -> LeaseSettings:
        if lease.renew_every_s + lease.margin_s >= lease.ttl_s:
            raise ValueError("renew_every_s + margin_s must be less than ttl_s")
        return lease

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """First wins. Which file and which folder are `load_settings`' choice, handed over as init values."""
        del env_settings, dotenv_settings, file_secret_settings
        chosen = init_settings()
        sources: list[PydanticBaseSettingsSource] = [EnvSettingsSource(settings_cls)]
        if credentials := chosen.get("credentials_dir"):
            sources.insert(0, SecretsSettingsSource(settings_cls, secrets_dir=credentials))
        if config := chosen.get("config_file"):
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=config))
        return tuple(sources)


def config_path(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: the one asked for, else `POLYCOPY_CONFIG`, else `config/worker.toml` if it is there."""
    asked = given or (Path(environ[CONFIG_VARIABLE]) if CONFIG_VARIABLE in environ else None)
    if asked is not None and not asked.is_file():
        raise ConfigError(f"The configuration file {asked} does not exist: give the path of one that does.")
    if asked is None and DEFAULT_CONFIG.is_file():
        return DEFAULT_CONFIG
    return asked


def load_settings(given: Path | None = None) -> Settings:
    """Read, merge and check everything. Raises `ConfigError` or `CredentialError` with one clear sentence."""
    path = config_path(given, os.environ)
    _refuse_unknown_variables(os.environ)
    if path is not None:
        _refuse_secrets_in(path)
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", ""))
    credentials = folder if folder.is_absolute() and folder.is_dir() else None
    try:
        return Settings(config_file=path, credentials_dir=credentials)  # type: ignore[call-arg]  # for the sources
    except ValidationError as error:
        raise _as_sentence(error, path) from None
    except SettingsError as error:
        raise ConfigError(
            f"The environment holds a setting that is not valid JSON: {error}; lists and tables are written as "
            "JSON there, such as POLYCOPY_WALLETS='[]'."
        ) from None


def wallet_key(wallet: WalletSettings) -> SecretStr:
    """The private key of a wallet, from where its `key` says. Raises `CredentialError` naming the place."""
    source, _, name = wallet.key.partition(":")
    if source == "env":
        value = os.environ.get(name, "")
    else:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        file = Path(folder) / name if folder else None
        value = file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""
    text = value.strip().removeprefix("0x")
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        found = "is not set" if not text else "is not a private key (64 hexadecimal digits)"
        raise CredentialError(
            f"The key of wallet {wallet.address} {found}: put it in {source} {name}, as its `key` setting says."
        )
    return SecretStr("0x" + text)


def _refuse_secrets_in(path: Path) -> None:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; give the worker's user the right to."
        ) from None
    secrets = {name.lower() for name in (*SECRET_NAMES, "supabase_key")}
    for name in table:
        if name.lower() in secrets:
            raise ConfigError(
                f"{path} holds the secret {name}: take it out, and set it in the environment or as a systemd "
                "credential."
            )


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    """A misspelt variable would be ignored in silence. A plain name is judged only if it resembles a setting:
    container platforms put variables of their own under a service's prefix.
    """
    groups = {name for name, field in Settings.model_fields.items() if _is_group(field.annotation)}
    plain = set(Settings.model_fields) - groups
    for variable in environ:
        if not variable.startswith(ENV_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        head, _, rest = variable.removeprefix(ENV_PREFIX).lower().partition("__")
        if head in plain:
            continue
        if rest and head in groups:
            annotation = Settings.model_fields[head].annotation
            names = list(annotation.model_fields) if annotation is not None and _is_group(annotation) else []
            if rest in names:
                continue
            raise ConfigError(f"Unknown setting {variable} in the environment{_hint(rest, names)}")
        if rest or difflib.get_close_matches(head, list(plain)):
            raise ConfigError(f"Unknown setting {variable} in the environment{_hint(head, groups | plain)}")


def _is_group(annotation: Any) -> TypeGuard[type[Group]]:
    return isinstance(annotation, type) and issubclass(annotation, Group)


def _hint(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean `{near[0]}`?" if near else f": known are {', '.join(sorted(known))}."


def _as_sentence(error: ValidationError, path: Path | None) -> ConfigError | CredentialError:
    # A misspelt key also leaves the right one missing: the misspelling is the news.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    names = [str(part) for part in first["loc"]]
    name = ".".join(names)
    where = str(path) if path is not None else "the environment"
    missing = first["type"] == "missing"
    if missing and names[0] in {"SUPABASE_URL", "supabase_url"}:
        return ConfigError(
            "SUPABASE_URL is not set: export the project's URL, such as https://<ref>.supabase.co."
        )
    if missing and names[0] in {"SUPABASE_SERVICE_ROLE_KEY", "supabase_key"}:
        return CredentialError(
            "SUPABASE_SERVICE_ROLE_KEY is not set: export the project's service_role key (or SUPABASE_SECRET_KEY)."
        )
    if missing:
        return ConfigError(f"`{name}` is missing in {where} or the environment: add it.")
    if first["type"] == "extra_forbidden":
        return ConfigError(f"Unknown key `{name}` in {where}{_hint(names[-1], _siblings(names))}")
    problem = first["msg"].removeprefix("Value error, ")
    return ConfigError(
        f"`{name}` = {_shown(names, first['input'])} in {_place(names, where)} is refused: {problem}."
    )


def _place(names: list[str], where: str) -> str:
    return "the environment" if names[0].startswith("SUPABASE_") else f"{where} or the environment"


def _shown(names: list[str], value: object) -> str:
    """A refused value, unless it may be a secret that was put into the wrong place."""
    text = repr(value)
    private = names[0] == "wallets" or names[0].lower().startswith("supabase")
    if len(text) > 60 or (private and len(text) > 12):
        return f"a value of {len(str(value))} characters"
    return text


def _siblings(names: list[str]) -> Iterable[str]:
    if len(names) == 1:
        return [name for name in Settings.model_fields if not name.startswith("supabase")]
    field = Settings.model_fields.get(names[0])
    annotation = WalletSettings if names[0] == "wallets" else field.annotation if field else None
    return annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, Group) else ()
