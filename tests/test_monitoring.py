"""The dashboard, the alert rules and the page about them name metrics and labels that there are, and all of them."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from partnerhub.lib.metrics import Family, Histogram

DOCS = Path(__file__).resolve().parents[1] / "docs"
# It comes with the tools; it has no types.
yaml: Any = importlib.import_module("yaml")

FAMILIES = {family.name: family for family in Family.all}
SELECTOR = re.compile(r"\b(partnerhub_[a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'^\s*(\w+)\s*(=~|=)\s*"([^"]*)"\s*$')
GROUPING = re.compile(r"\bby \(([a-z, ]+)\)")


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DOCS / "monitoring/alerts.yml").read_text())["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return [
        panel
        for panel in json.loads((DOCS / "monitoring/dashboard.json").read_text())["panels"]
        if panel["type"] != "row"
    ]


def expressions() -> list[str]:
    of_panels = [target["expr"] for panel in panels() for target in panel["targets"]]
    return of_panels + [rule["expr"] for rule in rules()]


def family_of(name: str) -> Family:
    """The metric that a series is of."""
    if name in FAMILIES:
        assert not isinstance(FAMILIES[name], Histogram), (
            f"{name} is a histogram: it has no series of that name"
        )
        return FAMILIES[name]
    found = FAMILIES[re.sub(r"_(bucket|sum|count)$", "", name)]
    assert isinstance(found, Histogram)
    return found


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_names_metrics_labels_and_values_that_there_are(expression: str) -> None:
    selectors = SELECTOR.findall(expression)
    assert selectors
    labels: set[str] = set()
    for name, matchers in selectors:
        family = family_of(name)
        labels |= family.labels.keys() | ({"le"} if name.endswith("_bucket") else set())
        for matcher in filter(None, matchers.split(",")):
            found = MATCHER.match(matcher)
            assert found is not None, matcher
            label, operator, value = found.groups()
            values = value.split("|") if operator == "=~" else [value]
            assert set(values) <= set(family.labels[label])
    for grouping in GROUPING.findall(expression):
        assert {label.strip() for label in grouping.split(",")} <= labels
    assert expression.count("(") == expression.count(")")
    assert ("histogram_quantile" in expression) == ("_bucket" in expression)


@pytest.mark.parametrize("expression", expressions())
def test_what_only_goes_up_is_asked_for_its_rate_and_what_is_now_is_not(expression: str) -> None:
    for match in SELECTOR.finditer(expression):
        family = family_of(match[1])
        is_ranged = expression[match.end() :].startswith("[")
        assert is_ranged == (family.kind != "gauge"), match[0]


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {
        family_of(name).name
        for panel in panels()
        for target in panel["targets"]
        for name, _ in SELECTOR.findall(target["expr"])
    }

    assert shown == set(FAMILIES)


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
        assert place["x"] + place["w"] <= 24
        assert panel["title"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["alert"].startswith("PartnerHub")
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"].keys() == {"summary", "action"}
    assert rule["annotations"]["summary"].endswith(".")


def test_no_alert_stands_twice() -> None:
    names = [rule["alert"] for rule in rules()]

    assert len(names) == len(set(names))


def test_the_page_lists_every_metric_as_it_is() -> None:
    page = (DOCS / "monitoring.md").read_text()
    listed = re.findall(r"^\| `(partnerhub_\w+)` \| (\w+) \| (.*?) \| (.+) \|$", page, re.MULTILINE)

    assert listed == [
        (one.name, one.kind, ", ".join(f"`{label}`" for label in one.labels), one.help) for one in Family.all
    ]
