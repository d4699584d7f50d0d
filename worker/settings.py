"""What the operator may set: `config/worker.toml` < environment < systemd credentials.

Every value is checked once, here, at start. A wrong key, value or combination becomes one sentence that names
the thing, the value and the fix. Secrets come from the environment or from credentials, never from the file.
Environment: `POLYCOPY_<GROUP>__<NAME>`, such as `POLYCOPY_SWEEP__EVERY_S=0.5`, and the usual `SUPABASE_*` names.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from worker.configuration import mistakes
from worker.configuration.feed import CanarySettings, FeedSettings, SweepSettings
from worker.configuration.kinds import Address, Group, OffIsNone, PositiveSeconds, Url
from worker.configuration.observing import EndpointSettings, MarkSettings, PatternSettings, PruningSettings
from worker.configuration.web import WebSettings
from worker.errors import ConfigError, CredentialError, WorkerError
from worker.orders.terms import Mode, WalletKind

ENV_PREFIX = "POLYCOPY_"
DEFAULT_CONFIG = Path("config/worker.toml")
SECRET_NAMES = ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY", "SUPABASE_DB_URL", "POLYCOPY_WEB_TOKEN")
_SECRET_KEYS = frozenset({*(name.lower() for name in SECRET_NAMES), "supabase_key", "web_token"})
# Read before the settings are: where the file is.
CONFIG_VARIABLE = "POLYCOPY_CONFIG"


class SignalSettings(Group):
    fresh_for_s: PositiveSeconds = 120.0
    max_age_s: PositiveSeconds = 24 * 3600.0
    concurrency: Annotated[int, Field(ge=1, le=512)] = 64
    queue_capacity: Annotated[int, Field(ge=16)] = 250


class UnknownEdge(StrEnum):
    """What to do with a fresh signal that does not state its edge, where one is asked for."""

    SKIP = "skip"
    TRADE = "trade"


class PriceSettings(Group):
    """`min_tick_max_pct`: one tick above the base is allowed only within this many percent of it.
    `min_edge_after_fees`: dollars that a share must promise over its worst price and the taker's fee.
    """

    min_tick_max_pct: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(20)
    gtd_lifetime_s: Annotated[float, Field(ge=180)] = 600.0
    min_edge_after_fees: Annotated[Decimal | None, Field(ge=-1, le=1), OffIsNone] = None
    unknown_edge: UnknownEdge = UnknownEdge.SKIP


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
    type: WalletKind = WalletKind.EOA
    key: Annotated[str, Field(pattern=r"^(env|credential):[A-Za-z0-9_.-]+$")]


class LeaseSettings(Group):
    """One worker submits for a wallet. It stops sending `margin_s` before its right may have passed on."""

    ttl_s: PositiveSeconds = 15.0
    margin_s: PositiveSeconds = 3.0
    renew_every_s: PositiveSeconds = 5.0


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
    # Orders that rest (GTC, GTD): left behind by the market for so long, they are called off, and priced anew.
    max_age_s: PositiveSeconds = 300.0
    max_reprices: Annotated[int, Field(ge=0, le=10)] = 2
    reprice_extra_pct: Annotated[Decimal, Field(ge=0, le=50)] = Decimal(2)
    cancel_on_pause: bool = False


class RetakeSettings(Group):
    """FAK and FOK orders that were killed or filled in part: up to `max` further attempts while the signal is fresh."""

    max: Annotated[int, Field(ge=0, le=10)] = 3
    first_s: PositiveSeconds = 0.25
    most_s: PositiveSeconds = 4.0
    refresh_every_s: PositiveSeconds = 10.0


class CapitalSettings(Group):
    """Off the way of orders: checkpoints, and the audit of so many orders at a time."""

    checkpoint_every_s: PositiveSeconds = 30.0
    audit_orders: Annotated[int, Field(ge=1, le=5000)] = 500


class SettlementSettings(Group):
    """Markets with open orders are asked whether they have ended: a tenth of the time to their end, within these."""

    round_every_s: PositiveSeconds = 60.0
    least_s: PositiveSeconds = 60.0
    most_s: PositiveSeconds = 900.0
    markets_per_minute: Annotated[int, Field(ge=1)] = 600


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
    web_token: SecretStr | None = None
    wallets: tuple[WalletSettings, ...] = ()

    feed: FeedSettings = FeedSettings()
    canary: CanarySettings = CanarySettings()
    sweep: SweepSettings = SweepSettings()
    signal: SignalSettings = SignalSettings()
    price: PriceSettings = PriceSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    lease: LeaseSettings = LeaseSettings()
    balance: BalanceSettings = BalanceSettings()
    pending: PendingSettings = PendingSettings()
    retake: RetakeSettings = RetakeSettings()
    capital: CapitalSettings = CapitalSettings()
    settlement: SettlementSettings = SettlementSettings()
    paper: PaperSettings = PaperSettings()
    endpoints: EndpointSettings = EndpointSettings()
    patterns: PatternSettings = PatternSettings()
    marks: MarkSettings = MarkSettings()
    pruning: PruningSettings = PruningSettings()
    log: LogSettings = LogSettings()
    web: WebSettings = WebSettings()

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
        sources: list[PydanticBaseSettingsSource] = [_UndecodedEnvironment(settings_cls)]
        if credentials := chosen.get("credentials_dir"):
            sources.insert(0, _UndecodedCredentials(settings_cls, secrets_dir=credentials))
        if config := chosen.get("config_file"):
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=config))
        return tuple(sources)


class _UndecodedEnvironment(EnvSettingsSource):
    """Hands text that is no JSON on as it is: validation refuses it, together with everything else."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


class _UndecodedCredentials(SecretsSettingsSource):
    """As `_UndecodedEnvironment`."""

    decode_complex_value = _UndecodedEnvironment.decode_complex_value


def config_path(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: the one asked for, else `POLYCOPY_CONFIG`, else `config/worker.toml` if it is there."""
    asked = given or (Path(environ[CONFIG_VARIABLE]) if CONFIG_VARIABLE in environ else None)
    if asked is not None and not asked.is_file():
        raise ConfigError(f"The configuration file {asked} does not exist: give the path of one that does.")
    if asked is None and DEFAULT_CONFIG.is_file():
        return DEFAULT_CONFIG
    return asked


def load_settings(given: Path | None = None) -> Settings:
    """Read, merge and check everything. Raises `ConfigError` or `CredentialError`: one clear sentence, or a line that
    counts them and one sentence on each line after it.
    """
    found: list[WorkerError] = []
    path: Path | None = None
    text, table = "", dict[str, Any]()
    try:
        path = config_path(given, os.environ)
        if path is not None:
            text, table = _read(path)
    except ConfigError as error:
        path, found = None, [error]  # the environment's mistakes are told all the same
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", ""))
    credentials = folder if folder.is_absolute() and folder.is_dir() else None
    sources = mistakes.Sources(ENV_PREFIX, path, table, os.environ, credentials)
    found += _secrets_in(table, path)
    found += mistakes.unknown_variables(Settings, sources, _named_variables(text, os.environ))
    try:
        settings = Settings(config_file=path, credentials_dir=credentials)  # type: ignore[call-arg]  # for the sources
    except ValidationError as error:
        found += mistakes.of_validation(error, Settings, sources, _SECRET_KEYS)
        raise mistakes.together(found) from None
    if found:
        raise mistakes.together(found)
    return settings


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


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; give the worker's user the right to."
        ) from None


def _secrets_in(table: Mapping[str, Any], path: Path | None) -> list[WorkerError]:
    return [
        ConfigError(
            f"{path} holds the secret {name}: take it out, and set it in the environment or as a systemd credential."
        )
        for name in table
        if name.lower() in _SECRET_KEYS
    ]


def _named_variables(text: str, environ: Mapping[str, str]) -> set[str]:
    """Variables with our prefix that are no settings: our own, and those that the `key` of a wallet names."""
    wallets = text + environ.get(f"{ENV_PREFIX}WALLETS", "")
    return {CONFIG_VARIABLE, *re.findall(r"env:([A-Za-z0-9_.-]+)", wallets)}
