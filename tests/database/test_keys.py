import base64
import json

import pytest

from worker.database.keys import DatabaseAccess, check_key, check_url
from worker.errors import ConfigError, CredentialError


def token(claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{payload}.c2lnbmF0dXJl"


@pytest.mark.parametrize("key", [token({"role": "service_role"}), "sb_secret_abcDEF123"])
def test_a_service_key_of_either_kind_is_accepted(key: str) -> None:
    assert check_key(f" {key}\n") == key


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("", "empty"),
        ("sb_publishable_abc", "publishable"),
        (token({"role": "anon"}), "'anon'"),
        (token({"role": "authenticated"}), "'authenticated'"),
        (token({"sub": "someone"}), "neither"),
        (token(["service_role"]), "neither"),
        ("eyJ.not-base64!.x", "neither"),
        ("hunter2", "neither"),
        ("sb_secret_two words", "neither"),
        (token({"role": "service_role"}) + "é", "neither"),
    ],
)
def test_any_other_key_is_refused_by_name_and_with_the_fix(key: str, named: str) -> None:
    with pytest.raises(CredentialError) as caught:
        check_key(key)
    assert named in str(caught.value)
    assert "SUPABASE_SERVICE_ROLE_KEY" in str(caught.value)
    assert "service_role key" in str(caught.value)


@pytest.mark.parametrize("key", [token({"role": "anon"}), "sb_publishable_abcdef", "hunter2"])
def test_no_message_quotes_the_key(key: str) -> None:
    with pytest.raises(CredentialError) as caught:
        check_key(key)
    assert key not in str(caught.value)


def test_the_key_is_not_shown_with_its_holder() -> None:
    assert "sb_secret_x" not in repr(DatabaseAccess.checked("https://a.supabase.co", "sb_secret_x"))


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://abc.supabase.co", "https://abc.supabase.co"),
        (" https://abc.supabase.co/ \n", "https://abc.supabase.co"),
        ("http://127.0.0.1:54321", "http://127.0.0.1:54321"),
    ],
)
def test_a_project_address_is_kept_without_its_trailing_slash(url: str, kept: str) -> None:
    assert check_url(url) == kept


@pytest.mark.parametrize(
    "url",
    [
        "",
        "abc.supabase.co",
        "ftp://abc.supabase.co",
        "https://",
        "https://abc.supabase.co/rest/v1",
        "https://abc.supabase.co?apikey=1",
        "https://user:word@abc.supabase.co",
        "https://abc.supabase.co:port",
        "https://[::1",
    ],
)
def test_anything_else_is_a_config_error_that_names_the_setting(url: str) -> None:
    with pytest.raises(ConfigError, match="SUPABASE_URL"):
        check_url(url)


def test_a_key_pasted_as_the_address_is_not_shown() -> None:
    pasted = token({"role": "service_role"})
    with pytest.raises(ConfigError) as caught:
        check_url(pasted)
    assert pasted not in str(caught.value)
