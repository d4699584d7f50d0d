"""Alerts, dashboard and runbooks go by what the worker really tells: no metric, label, lane or page that is not there."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from worker.observe.metrics import Metrics
from worker.orders.patterns import PatternKind

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "alerts" / "polycopy.yaml"
DASHBOARD = ROOT / "grafana" / "polycopy.json"
RUNBOOKS = ROOT / "docs" / "runbooks"
INSTALLED = "file:///opt/polycopy-worker/"
# What PromQL itself knows, and labels that Prometheus adds to each series.
LANGUAGE = {
    "absent", "and", "by", "changes", "histogram_quantile", "increase", "label_values", "max", "min", "min_over_time",
    "or", "rate", "resets", "sum", "unless", "vector", "without",
}  # fmt: skip
ADDED = {"instance", "job", "le"}


def labels_told() -> dict[str, set[str]]:
    """Every series of the registry, and the labels that each may have."""
    told: dict[str, set[str]] = {}
    for collector in vars(Metrics()).values():
        names = getattr(collector, "_labelnames", None)
        if names is None:
            continue
        (family,) = collector.describe()
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}[
            family.type
        ]
        told |= {family.name + suffix: {*names, *ADDED} for suffix in suffixes}
    return told


TOLD = labels_told()


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]:
        assert group.keys() == {"name", "rules"}
        yield from group["rules"]


def panels() -> Iterator[dict[str, Any]]:
    yield from json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]


def questions() -> list[str]:
    """Everything that is asked of Prometheus."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    asked += [note["expr"] for note in board["annotations"]["list"]]
    asked += [one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    return asked + [rule["expr"] for rule in rules()]


def selectors(question: str) -> list[tuple[str, set[str]]]:
    """Each series that a question names, with the labels that it is picked by."""
    bare = re.sub(r'"[^"]*"', '""', question)
    found = re.findall(r"([a-z_][a-z0-9_]*)\s*(?:\{([^}]*)\})?", re.sub(r"\[[^]]*\]|\b\d[\w.]*", "", bare))
    grouped = {
        word for inner in re.findall(r"\bby\s*\(([^)]*)\)", bare) for word in re.findall(r"\w+", inner)
    }
    named = [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inner))) for name, inner in found]
    series = [(name, labels) for name, labels in named if name not in LANGUAGE | grouped | ADDED]
    assert series or question == "vector(1)", question
    return [(name, labels | grouped) for name, labels in series]


@pytest.mark.parametrize("question", questions())
def test_every_series_that_is_asked_for_is_told_with_these_labels(question: str) -> None:
    for name, labels in selectors(question):
        assert name in TOLD
        assert labels <= TOLD[name]


def test_a_metric_that_is_not_told_would_be_noticed() -> None:
    (name, labels), *_ = selectors('sum by (kind) (rate(polycopy_nonsense_total{why="x"}[5m])) > 0.5')
    assert (name in TOLD, labels) == (False, {"kind", "why"})


def test_an_alert_says_what_is_wrong_how_bad_it_is_and_which_page_helps() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 12
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "none"}, rule["alert"]
        assert rule["annotations"].keys() == {"summary", "runbook_url"}, rule["alert"]
        page = ROOT / rule["annotations"]["runbook_url"].removeprefix(INSTALLED)
        assert page.parent == RUNBOOKS, rule["alert"]
        assert page.is_file(), rule["alert"]


def test_every_runbook_belongs_to_an_alert_and_says_what_to_do() -> None:
    named = {Path(rule["annotations"]["runbook_url"]).name for rule in rules()}
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert page.name in named
        assert text.startswith("# ")
        assert re.search(r"^(1\. |- )", text, re.MULTILINE), page.name


def test_every_pattern_is_explained_in_its_runbook() -> None:
    text = (RUNBOOKS / "pattern.md").read_text(encoding="utf-8")
    assert all(f"`{kind}`" in text for kind in PatternKind)


def test_panels_have_a_place_a_title_and_an_explanation_and_none_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"]


def test_every_figure_of_the_worker_is_on_the_dashboard_or_in_an_alert() -> None:
    """A figure that nobody looks at is not worth counting."""
    asked = " ".join(questions())
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in TOLD}
    assert {name for name in families if name not in asked} == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool, of Prometheus, is not installed")
def test_promtool_agrees_and_the_alerts_fire_when_they_should() -> None:
    for what, file in (("check", "polycopy.yaml"), ("test", "polycopy.test.yaml")):
        done = subprocess.run(
            ["promtool", what, "rules", file], cwd=ALERTS.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
