"""What is an extra may not be there."""

import pytest

from worker.cli import web
from worker.errors import ConfigError


def test_without_the_extra_the_verb_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "https://project.supabase.co")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "the-key-of-the-service")
    monkeypatch.setattr(web, "find_spec", lambda name: None if name == "nicegui" else name)
    with pytest.raises(ConfigError, match=r"`web` needs nicegui: install polycopy-worker\[web\]"):
        web.web()
