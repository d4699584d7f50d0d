"""What the operator may set, where each value comes from, and how a mistake is told."""

import os
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from worker.errors import ConfigError, CredentialError, WorkerError
from worker.orders.terms import Mode, WalletAddress
from worker.settings import ENV_PREFIX, Settings, WalletSettings, load_settings, wallet_key

SHIPPED = Path(__file__).parents[1] / "config" / "worker.toml"
ADDRESS = "0x" + "ab" * 20
PRIVATE_KEY = "0x" + "4c" * 32
Load = Callable[[str], Settings]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The least that a worker needs, and nothing of the machine that runs the tests."""
    for name in list(os.environ):
        if name.startswith((ENV_PREFIX, "SUPABASE_")) or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)
    monkeypatch.setenv("SUPABASE_URL", "https://project.supabase.co")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "the-key-of-the-service")
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Settings as a file with this text gives them."""

    def from_text(text: str) -> Settings:
        file = tmp_path / "worker.toml"
        file.write_text(text, encoding="utf-8")
        return load_settings(file)

    return from_text


@pytest.fixture
def credentials(environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder where systemd would put them."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    environment.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def complaint(load: Callable[[], object], kind: type[WorkerError] = ConfigError) -> str:
    """The one sentence with which loading ends."""
    with pytest.raises(kind) as refusal:
        load()
    sentence = str(refusal.value)
    assert "\n" not in sentence
    assert sentence[-1] in ".?"
    return sentence


# --- values and where they come from ------------------------------------------------------------------------------


def test_the_shipped_file_says_exactly_the_defaults() -> None:
    assert load_settings(SHIPPED) == load_settings()


def test_the_shipped_file_names_every_setting() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        if name.startswith("supabase_"):
            continue
        group = field.annotation
        assert name in text
        for key in getattr(group, "model_fields", {}):
            assert f"\n{key} = " in text, f"{name}.{key}"


def test_trading_with_money_is_never_the_default() -> None:
    assert load_settings().mode is Mode.PAPER


def test_the_environment_goes_before_the_file(load: Load, environment: pytest.MonkeyPatch) -> None:
    file = "mode = 'live'\n[sweep]\nevery_s = 3.0\nbatch = 7\n"
    environment.setenv("POLYCOPY_SWEEP__EVERY_S", "2.5")
    settings = load(file)
    assert (settings.mode, settings.sweep.every_s, settings.sweep.batch) == (Mode.LIVE, 2.5, 7)


def test_a_credential_goes_before_the_environment(credentials: Path) -> None:
    (credentials / "SUPABASE_SERVICE_ROLE_KEY").write_text("the-key-from-systemd\n", encoding="utf-8")
    assert load_settings().supabase_key == SecretStr("the-key-from-systemd")


def test_either_name_of_the_service_key_will_do(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SUPABASE_SERVICE_ROLE_KEY")
    environment.setenv("SUPABASE_SECRET_KEY", "sb_secret_of_the_project")
    assert load_settings().supabase_key == SecretStr("sb_secret_of_the_project")


def test_a_credentials_folder_that_is_not_there_is_no_trouble(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CREDENTIALS_DIRECTORY", "/nowhere/at/all")
    assert load_settings().mode is Mode.PAPER


def test_the_file_is_the_one_asked_for_else_the_one_the_environment_names_else_the_one_in_config(
    load: Load, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder, batch in (("config", 11), ("named", 22), ("asked", 33)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "worker.toml").write_text(f"[sweep]\nbatch = {batch}\n", encoding="utf-8")
    assert load_settings().sweep.batch == 11
    environment.setenv("POLYCOPY_CONFIG", "named/worker.toml")
    assert load_settings().sweep.batch == 22
    assert load_settings(Path("asked/worker.toml")).sweep.batch == 33


def test_money_is_read_exactly(load: Load) -> None:
    assert load('[paper]\nbankroll_usd = "1234.56"\n').paper.bankroll_usd == Decimal("1234.56")


def test_an_edge_is_asked_for_only_if_one_is_set_and_zero_is_one(load: Load) -> None:
    assert load('[price]\nmin_edge_after_fees = "off"\n').price.min_edge_after_fees is None
    assert load("[price]\nmin_edge_after_fees = 0\n").price.min_edge_after_fees == 0
    assert load("[price]\nmin_edge_after_fees = 0.02\n").price.min_edge_after_fees == Decimal("0.02")
    said = complaint(lambda: load('[price]\nmin_edge_after_fees = "of"\n'))
    assert "`price.min_edge_after_fees` = 'of'" in said


def test_wallets_may_stand_in_the_environment_as_json(environment: pytest.MonkeyPatch) -> None:
    environment.setenv(
        "POLYCOPY_WALLETS", f'[{{"address": "{ADDRESS.upper().replace("X", "x")}", "key": "env:K"}}]'
    )
    (wallet,) = load_settings().wallets
    assert wallet.address == ADDRESS


def test_settings_do_not_change_while_the_worker_runs() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.mode = Mode.LIVE
    with pytest.raises(ValidationError):
        settings.sweep.every_s = 9.0


def test_a_secret_is_not_shown_by_what_holds_it() -> None:
    assert "the-key-of-the-service" not in repr(load_settings())


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modee = 'paper'", ["`modee`", "did you mean `mode`?"]),
        ("[sweep]\nevry_s = 1", ["`sweep.evry_s`", "did you mean `every_s`?"]),
        ("[sweeep]\nevery_s = 1", ["`sweeep`", "did you mean `sweep`?"]),
        (
            f"[[wallets]]\nadress = '{ADDRESS}'\nkey = 'env:K'",
            ["`wallets.0.adress`", "did you mean `address`?"],
        ),
        ("[sweep]\nfrequency = 1", ["`sweep.frequency`", "known are", "every_s"]),
        ("mode = 'lvie'", ["`mode`", "'lvie'", "'paper' or 'live'"]),
        ("[sweep]\nevery_s = 'soon'", ["`sweep.every_s`", "'soon'", "number"]),
        ("[sweep]\nevery_s = -1", ["`sweep.every_s`", "-1", "greater than 0"]),
        ("[sweep]\nevery_s = nan", ["`sweep.every_s`", "finite"]),
        ("sweep = 3", ["`sweep`", "3"]),
        ("[sweep]\nbatch = 1001", ["`sweep.batch`", "1001", "1000"]),
        ("[lease]\nttl_s = 5.0", ["`lease`", "renew_every_s + margin_s must be less than ttl_s"]),
        ("[exchange]\nclob_url = 'clob.polymarket.com'", ["`exchange.clob_url`", "https://host"]),
        (f"[[wallets]]\naddress = '{ADDRESS}'", ["`wallets.0.key`", "missing"]),
        (
            "[[wallets]]\naddress = '0x12'\nkey = 'env:K'",
            ["`wallets.0.address`", "0x and 40 hexadecimal digits"],
        ),
        (f"[[wallets]]\naddress = '{ADDRESS}'\nkey = 'file:/k'", ["`wallets.0.key`", "env|credential"]),
        (f"[[wallets]]\naddress = '{ADDRESS}'\nkey = 'env:A'\n" * 2, ["`wallets`", "same address twice"]),
        ("SUPABASE_SERVICE_ROLE_KEY = 'x'", ["SUPABASE_SERVICE_ROLE_KEY", "take it out", "credential"]),
        ("supabase_secret_key = 'x'", ["supabase_secret_key", "take it out"]),
        ("mode =", ["worker.toml", "not valid TOML"]),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_that_names_it(load: Load, text: str, said: list[str]) -> None:
    sentence = complaint(lambda: load(text))
    for words in said:
        assert words in sentence
    assert "worker.toml" in sentence


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_bytes(b"mode = '\xff'\n")
    assert str(file) in complaint(lambda: load_settings(file))


def test_a_file_that_is_not_there_is_named() -> None:
    assert "elsewhere.toml" in complaint(lambda: load_settings(Path("elsewhere.toml")))


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("POLYCOPY_SWEP__EVERY_S", "1", "did you mean `sweep`?"),
        ("POLYCOPY_SWEEP__EVRY_S", "1", "did you mean `every_s`?"),
        ("POLYCOPY_MDOE", "live", "did you mean `mode`?"),
        ("POLYCOPY_FOO", "1", "Unknown setting POLYCOPY_FOO"),
        ("POLYCOPY_WEB_PORT", "8484", "did you mean `POLYCOPY_WEB__PORT`?"),
        ("POLYCOPY_ENDPOINTS_PORT", "off", "did you mean `POLYCOPY_ENDPOINTS__PORT`?"),
        ("POLYCOPY_PORT", "8484", "Unknown setting POLYCOPY_PORT"),
        ("POLYCOPY_X_PORT", "8484", "Unknown setting POLYCOPY_X_PORT"),
        ("POLYCOPY_SUPABASE_URL", "https://host", "Unknown setting POLYCOPY_SUPABASE_URL"),
        ("POLYCOPY_SWEEP__EVERY_S", "soon", "`sweep.every_s` = 'soon' in POLYCOPY_SWEEP__EVERY_S is"),
        ("POLYCOPY_SWEEP", '{"evry_s": 1}', "Unknown key `sweep.evry_s` in POLYCOPY_SWEEP: did you"),
        ("POLYCOPY_LEASE__TTL_S", "5", "`lease` = "),
        ("POLYCOPY_SWEEP", "fast", "`sweep` = 'fast' in POLYCOPY_SWEEP is not valid JSON"),
        ("POLYCOPY_WALLETS", "0xabc", "not valid JSON"),
        ("POLYCOPY_SWEEP__CATCH_UP_AFTER_LIVE_S", "1,2", "not valid JSON"),
        ("SUPABASE_URL", "project.supabase.co", "`SUPABASE_URL` = "),
        ("SUPABASE_URL", "", "`SUPABASE_URL` = ''"),
    ],
)
def test_a_mistake_in_the_environment_is_one_sentence_that_names_it(
    environment: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    environment.setenv(variable, value)
    assert said in complaint(load_settings)


def test_all_mistakes_are_told_at_once_each_with_its_place(
    load: Load, environment: pytest.MonkeyPatch, credentials: Path
) -> None:
    environment.delenv("SUPABASE_SERVICE_ROLE_KEY")
    environment.setenv("POLYCOPY_FOO", "1")
    environment.setenv("POLYCOPY_SWEEP__BATCH", "0")
    environment.setenv("POLYCOPY_WALLETS", "0xabc")
    (credentials / "SUPABASE_URL").write_text("project.supabase.co", encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        load("modee = 'live'\n[sweep]\nbatch = 5\nevery_s = -1\n[lease]\nttl_s = 5.0\n")
    first, *told = str(refusal.value).splitlines()
    assert first == f"{len(told)} settings are wrong:"
    expected = [
        r"POLYCOPY_FOO in the environment: known are",
        r"`modee` in \S+worker.toml: did you mean `mode`",
        r"`sweep.batch` = '0' in POLYCOPY_SWEEP__BATCH is refused",
        r"`sweep.every_s` = -1 in \S+worker.toml is refused",
        r"`lease` = .* in \S+worker.toml is refused",
        r"`wallets` = '0xabc' in POLYCOPY_WALLETS is not valid JSON",
        r"`SUPABASE_URL` = .* in the credential SUPABASE_URL is refused",
        r"SUPABASE_SERVICE_ROLE_KEY is not set: export",
    ]
    assert len(told) == len(expected)
    for words in expected:
        assert len([line for line in told if re.search(words, line)]) == 1, words


def test_two_missing_keys_are_one_errand(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SUPABASE_URL")
    environment.delenv("SUPABASE_SERVICE_ROLE_KEY")
    with pytest.raises(ConfigError, match=r"(?s)^2 settings.*SUPABASE_URL is.*SUPABASE_SERVICE_ROLE_KEY is"):
        load_settings()


def test_a_file_that_cannot_be_read_hides_no_mistake_of_the_environment(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("POLYCOPY_MODE", "lvie")
    with pytest.raises(ConfigError, match=r"(?s)^2 settings.*elsewhere.toml does not exist.*POLYCOPY_MODE"):
        load_settings(Path("elsewhere.toml"))


def test_a_wallets_key_may_stand_in_a_variable_with_our_prefix(
    load: Load, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("POLYCOPY_WALLET_KEY", PRIVATE_KEY)
    (wallet,) = load(f"[[wallets]]\naddress = '{ADDRESS}'\nkey = 'env:POLYCOPY_WALLET_KEY'").wallets
    assert wallet_key(wallet).get_secret_value() == PRIVATE_KEY


def test_variables_that_a_container_platform_adds_are_none_of_our_business(
    environment: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "PORT": "tcp://10.0.0.1:9090",
        "WORKER_PORT": "tcp://10.0.0.1:9090",
        "WORKER_PORT_9090_TCP": "tcp://10.0.0.1:9090",
        "WORKER_PORT_9090_TCP_ADDR": "10.0.0.1",
        "WORKER_PORT_9090_TCP_PORT": "9090",
        "WORKER_PORT_9090_TCP_PROTO": "tcp",
        "WORKER_SERVICE_HOST": "10.0.0.1",
        "WORKER_SERVICE_PORT": "9090",
        "WORKER_SERVICE_PORT_HTTP": "9090",
    }.items():
        environment.setenv(f"POLYCOPY_{name}", value)
    assert load_settings().mode is Mode.PAPER


@pytest.mark.parametrize(
    ("variable", "kind"), [("SUPABASE_URL", ConfigError), ("SUPABASE_SERVICE_ROLE_KEY", CredentialError)]
)
def test_what_is_not_set_is_named_with_the_way_to_set_it(
    environment: pytest.MonkeyPatch, variable: str, kind: type[WorkerError]
) -> None:
    environment.delenv(variable)
    sentence = complaint(load_settings, kind)
    assert f"{variable} is not set" in sentence
    assert "export" in sentence


@pytest.mark.parametrize(
    "text",
    [
        f"[[wallets]]\naddress = '{ADDRESS}'\nkey = '{PRIVATE_KEY}'",
        f"[[wallets]]\naddress = '{PRIVATE_KEY}'\nkey = 'env:K'",
        f"[[wallets]]\nadress = '{ADDRESS}'\nkey = '{PRIVATE_KEY}'",
        f"[[wallets]]\nkey = '{PRIVATE_KEY}'",
        f"worker_id = '{PRIVATE_KEY}{PRIVATE_KEY}'",
    ],
)
def test_a_key_pasted_into_the_wrong_place_is_not_shown(load: Load, text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(text)
    assert "4c4c4c4c" not in str(refusal.value)


def test_a_database_key_pasted_into_the_url_is_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SUPABASE_URL", "sb_secret_0123456789")
    assert "0123456789" not in complaint(load_settings)


# --- the keys of wallets ------------------------------------------------------------------------------------------


def wallet(key: str) -> WalletSettings:
    return WalletSettings(address=WalletAddress(ADDRESS), key=key)


@pytest.mark.parametrize(
    "text", [PRIVATE_KEY, PRIVATE_KEY.removeprefix("0x"), f" {PRIVATE_KEY.upper()[2:]}\n"]
)
def test_a_wallets_key_is_read_from_the_variable_it_names(environment: pytest.MonkeyPatch, text: str) -> None:
    environment.setenv("WALLET_MAIN", text)
    assert wallet_key(wallet("env:WALLET_MAIN")).get_secret_value().lower() == PRIVATE_KEY


def test_a_wallets_key_is_read_from_the_credential_it_names(credentials: Path) -> None:
    (credentials / "wallet-main").write_text(PRIVATE_KEY + "\n", encoding="utf-8")
    assert wallet_key(wallet("credential:wallet-main")) == SecretStr(PRIVATE_KEY)


@pytest.mark.parametrize("key", ["env:WALLET_MAIN", "credential:wallet-main"])
def test_a_missing_wallet_key_names_the_wallet_and_the_place(key: str) -> None:
    sentence = complaint(lambda: wallet_key(wallet(key)), CredentialError)
    assert ADDRESS in sentence
    assert "is not set" in sentence
    assert key.replace(":", " ") in sentence


@pytest.mark.parametrize("text", [PRIVATE_KEY[:-1], PRIVATE_KEY + "00", "zz" * 32])
def test_a_malformed_wallet_key_is_refused_and_not_shown(environment: pytest.MonkeyPatch, text: str) -> None:
    environment.setenv("WALLET_MAIN", text)
    sentence = complaint(lambda: wallet_key(wallet("env:WALLET_MAIN")), CredentialError)
    assert "64 hexadecimal digits" in sentence
    assert text not in sentence
