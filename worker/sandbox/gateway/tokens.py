"""The tokens that clients show: verified by the project's secret, refused in the server's own words. Pure."""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

import jwt

from worker.sandbox.keys import ALGORITHM


class Flaw(Enum):
    MISSING = auto()
    MALFORMED = auto()
    SIGNATURE = auto()
    CLAIMS = auto()
    EXPIRED = auto()


class TokenRefusedError(Exception):
    """`expired_s` tells for how long an expired token has been so."""

    def __init__(self, flaw: Flaw, *, expired_s: int = 0) -> None:
        super().__init__(flaw.name)
        self.flaw = flaw
        self.expired_s = expired_s

    @property
    def at_upgrade(self) -> str:
        """The text in the body of a refused upgrade."""
        return "Token has expired" if self.flaw is Flaw.EXPIRED else self.text

    @property
    def text(self) -> str:
        """The text on a channel."""
        match self.flaw:
            case Flaw.MISSING:
                return "API key is missing"
            case Flaw.MALFORMED:
                return "The token provided is not a valid JWT"
            case Flaw.SIGNATURE:
                return "Failed to validate JWT signature"
            case Flaw.CLAIMS:
                return "Fields `role` and `exp` are required in JWT"
            case Flaw.EXPIRED:
                return f"Token has expired {self.expired_s} seconds ago"


@dataclass(frozen=True, slots=True)
class Token:
    raw: str
    role: str
    expires_at: float
    claims: str

    @classmethod
    def verify(cls, raw: str | None, secret: str, now: datetime) -> "Token":
        """Raises TokenRefusedError."""
        if not raw:
            raise TokenRefusedError(Flaw.MISSING)
        try:
            claims: dict[str, Any] = jwt.decode(raw, secret, algorithms=[ALGORITHM], options=_UNTIMED)
        except jwt.InvalidSignatureError as error:
            raise TokenRefusedError(Flaw.SIGNATURE) from error
        except jwt.InvalidTokenError as error:
            raise TokenRefusedError(Flaw.MALFORMED) from error
        role, expires_at = claims.get("role"), claims.get("exp")
        if not isinstance(role, str) or not isinstance(expires_at, int | float):
            raise TokenRefusedError(Flaw.CLAIMS)
        if expires_at <= now.timestamp():
            raise TokenRefusedError(Flaw.EXPIRED, expired_s=int(now.timestamp() - expires_at))
        return cls(raw, role, expires_at, json.dumps(claims))


_UNTIMED: Any = {"verify_exp": False, "verify_aud": False, "verify_iat": False}


def crash_reason(raw: str) -> str | None:
    """Returns why a join with this token crashes the server's channel, None if it does not.

    The server looks into the claims before it verifies anything, and trips over bytes that are no JSON.
    """
    parts = raw.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
    except binascii.Error:
        return None
    try:
        json.loads(claims)
    except ValueError:
        return f"UnknownErrorOnChannel: Erlang error: {{:invalid_byte, {claims[0]}}}" if claims else None
    return None
