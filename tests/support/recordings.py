"""Recordings as small as a test needs them, in the format of the shared one, and where that one is."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "book_nhl_20260607"
YES, NO = "1" + "0" * 40, "2" + "0" * 40
_HEADER = "ms,token,side,price,size,best_bid,best_ask,type"


def write_recording(folder: Path, rows: Iterable[str]) -> Path:
    """One market of a cent's tick: token 0 is `YES`, token 1 is `NO`."""
    tokens = [
        {"i": 0, "asset_id": YES, "complement": 1, "tick": 0.01},
        {"i": 1, "asset_id": NO, "complement": 0, "tick": 0.01},
    ]
    (folder / "tokens.json").write_text(json.dumps({"tokens": tokens}))
    with gzip.open(folder / "events.csv.gz", "wt") as lines:
        lines.write("\n".join([_HEADER, *rows]) + "\n")
    return folder
