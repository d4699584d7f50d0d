"""The keys of a sandbox project: JWTs signed with a secret of its own, as Supabase's legacy keys are."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import jwt

ALGORITHM: Final = "HS256"
_LIFETIME: Final = timedelta(days=3650)


class Role(StrEnum):
    """The database role a key acts as."""

    ANON = "anon"
    AUTHENTICATED = "authenticated"
    SERVICE_ROLE = "service_role"


@dataclass(frozen=True, slots=True)
class ProjectKeys:
    """Mints keys; two sandboxes never accept each other's."""

    secret: str = field(default_factory=lambda: secrets.token_urlsafe(36), repr=False)

    @property
    def anon(self) -> str:
        return self.mint(Role.ANON)

    @property
    def service_role(self) -> str:
        return self.mint(Role.SERVICE_ROLE)

    def authenticated(self, user_id: str) -> str:
        """Returns the access token of a signed-in user: `auth.uid()` is `user_id`."""
        return self.mint(Role.AUTHENTICATED, sub=user_id)

    def mint(self, role: str, *, lifetime: timedelta = _LIFETIME, **claims: str) -> str:
        """Returns a token for `role`; a negative `lifetime` makes one that has expired."""
        now = datetime.now(UTC)
        payload = {"iss": "supabase", "role": role, "iat": now, "exp": now + lifetime, **claims}
        return jwt.encode(payload, self.secret, algorithm=ALGORITHM)
