"""The two settings that open the database, checked before the first call leaves.

A wrong key does not fail loudly by itself: with the `anon` key most reads answer an empty list, and the worker would
look healthy while it sees no signal. So the key's role is read from the key, and only `service_role` passes.
Signatures are not verified here: the server does that. No message ever quotes a key.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from worker.errors import ConfigError, CredentialError

_FIX = "set SUPABASE_SERVICE_ROLE_KEY to the service_role key or a secret key (sb_secret_...) of the project"
_SECRET_PREFIX = "sb_secret_"  # noqa: S105 - the prefix of every such key, not a key
_PUBLISHABLE_PREFIX = "sb_publishable_"
_SERVICE_ROLE = "service_role"


@dataclass(frozen=True, slots=True)
class DatabaseAccess:
    """Where the project is and the key that may write to it, both checked."""

    url: str
    key: str = field(repr=False)

    @classmethod
    def checked(cls, url: str, key: str) -> "DatabaseAccess":
        """Raises `ConfigError` for the URL, `CredentialError` for the key."""
        return cls(url=check_url(url), key=check_key(key))


def check_url(url: str) -> str:
    """The project's URL without a trailing slash. Raises `ConfigError`."""
    text = url.strip().rstrip("/")
    example = "expected the project's address, such as https://<ref>.supabase.co"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"SUPABASE_URL is not a URL ({error}); {example}.") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigError(f"SUPABASE_URL is {_shown(text)}; {example}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"SUPABASE_URL carries more than an address (user, query or fragment); {example}.")
    if parts.path:
        raise ConfigError(f"SUPABASE_URL has the path {parts.path!r}; {example}, without /rest/v1.")
    return text


def check_key(key: str) -> str:
    """The key, if it is one of `service_role`. Raises `CredentialError` that names the setting and the fix."""
    text = key.strip()
    if not text:
        raise CredentialError(f"SUPABASE_SERVICE_ROLE_KEY is empty; {_FIX}.")
    if text.startswith(_PUBLISHABLE_PREFIX):
        raise CredentialError(
            f"SUPABASE_SERVICE_ROLE_KEY holds a publishable key, which may not trade; {_FIX}."
        )
    if text.startswith(_SECRET_PREFIX) and text.isascii() and text.isprintable() and " " not in text:
        return text
    role = _role_claim(text)
    if role is None:
        raise CredentialError(f"SUPABASE_SERVICE_ROLE_KEY is neither a JWT nor a secret key; {_FIX}.")
    if role != _SERVICE_ROLE:
        raise CredentialError(
            f"SUPABASE_SERVICE_ROLE_KEY is a key of role {role!r}, expected 'service_role'; {_FIX}."
        )
    return text


def _role_claim(token: str) -> str | None:
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        return None
    try:
        payload = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.b64decode(payload, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
    role = claims.get("role") if isinstance(claims, dict) else None
    return role if isinstance(role, str) else None


def _shown(text: str) -> str:
    """A wrong URL is often a key pasted into the wrong place: only what cannot be one is shown."""
    return repr(text) if len(text) <= 40 and "." in text else f"{len(text)} characters that are not a URL"
