"""The contract of `--json`: what a command prints, compared with what docs/cli-json.md says that it does."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DOCUMENT = Path(__file__).parents[2] / "docs" / "cli-json.md"


def undocumented(answer: Mapping[str, Any], command: str) -> set[str]:
    """Keys of the answer that the section of the command does not name. `command`: how its heading begins."""
    text = _DOCUMENT.read_text(encoding="utf-8")
    (section,) = re.findall(
        rf"^## {re.escape(command)}\b.*?$(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL
    )
    named_once_for_all = {"now"}
    return {key for key in answer.keys() - named_once_for_all if not re.search(rf"`\.?{key}\b", section)}
