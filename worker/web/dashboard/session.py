"""Who has shown the token in this browser: a cookie that says until when, signed with a key made of the token itself.

Nothing is kept: it holds across a restart of the process, and ends with its time or with another token.
"""

import hashlib
import hmac
from typing import Final

COOKIE: Final = "polycopy_session"
LASTS_S: Final = 12 * 3600
_PURPOSE: Final = b"polycopy dashboard session"


def stamp(token: str, now_s: int) -> str:
    """The cookie's value for whoever has shown the token at `now_s` (Unix time)."""
    until = str(now_s + LASTS_S)
    return f"{until}.{_sign(token, until)}"


def until_s(value: str | None, token: str | None) -> int:
    """Until when (Unix time) a cookie holds that was made with this very token; 0: it was not, or there is neither."""
    if not value or token is None:
        return 0
    until, _, signature = value.partition(".")
    genuine = hmac.compare_digest(signature.encode(), _sign(token, until).encode())
    return int(until) if genuine and until.isdecimal() else 0


def _sign(token: str, until: str) -> str:
    key = hashlib.sha256(_PURPOSE + token.encode()).digest()
    return hmac.new(key, until.encode(), hashlib.sha256).hexdigest()
