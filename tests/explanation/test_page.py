"""The page as a file: one, with nothing from elsewhere, with every step and the numbers that its script shows."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.explanation.explain import Explanation, explain
from gpu_mlp.explanation.page import MOST_COLUMNS, MOST_ROWS, MOST_SAMPLES
from tests.explanation.examples import explained, problems, textbook

VOID = {"meta", "br", "input", "line", "circle"}


class Elements(HTMLParser):
    """Every element with its attributes; fails where one is closed that was not opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def with_attribute(self, name: str) -> list[str]:
        return [str(attributes[name]) for _, attributes in self.found if name in attributes]


def data_of(page: str) -> dict[str, Any]:
    """What the script reads."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def mnist() -> Explanation:
    network = gpu_mlp.Network((784, 512, 512, 10), device="cpu")
    rng = np.random.default_rng(0)
    return explain(network, rng.normal(size=(64, 784)), rng.integers(0, 10, 64))


def test_every_step_is_an_article_in_order() -> None:
    elements = Elements(textbook().html())
    steps = [attributes for tag, attributes in elements.found if tag == "article"]
    assert [step["id"] for step in steps] == [f"step-{number}" for number in range(1, 25)]
    assert [step["data-result"] for step in steps] == [step.result for step in textbook().walk.steps]


def test_every_random_network_is_a_well_formed_page_whose_keys_are_all_known() -> None:
    for problem in problems(20):
        for notation in ("columns", "rows"):
            page = explained(problem, notation).html()
            elements, known = Elements(page), data_of(page)["quantities"]
            assert set(elements.with_attribute("data-key")) <= set(known)
            ids = elements.with_attribute("id")
            assert len(ids) == len(set(ids))


def test_the_script_has_the_networks_numbers_in_all_their_digits() -> None:
    found = textbook(batch=70)
    for key, shown in data_of(found.html())["quantities"].items():
        quantity = found.walk.quantities[key]
        assert tuple(shown["shape"]) == quantity.shape
        expected = quantity.values[np.ix_(shown["rows"], shown["columns"])]
        np.testing.assert_array_equal(np.array(shown["values"]), expected)
        assert shown["step"] == quantity.step
        axis = quantity.sample_axis
        limits = [
            MOST_SAMPLES if axis == each else most for each, most in enumerate((MOST_ROWS, MOST_COLUMNS))
        ]
        assert (len(shown["rows"]), len(shown["columns"])) == tuple(
            min(size, limit) for size, limit in zip(quantity.shape, limits, strict=True)
        )


def test_a_large_network_is_folded_and_small() -> None:
    page = mnist().html()
    assert len(page.encode()) < 3_000_000
    assert "784 units" in page
    assert page.count(">10 of them drawn<") == 3
    Elements(page)


def test_nothing_comes_from_elsewhere() -> None:
    page = textbook().html()
    assert not re.search(r"https?:|url\(|<link|\bsrc=|@import|\bfetch\(|XMLHttp", page)


def test_names_are_escaped() -> None:
    """No name reaches the page today but those that the package knows; the page does not rely on it."""
    found = textbook()
    evil = "</script><img src=x onerror=alert(1)>&\"'"
    quantity = found.walk.quantities["h_0"]
    found.walk.quantities["h_0"] = gpu_mlp.explanation.quantities.Quantity(  # type: ignore[attr-defined]
        **{**vars(quantity), "name": evil}
    )
    try:
        page, latex = found.html(), found.latex()
    finally:
        found.walk.quantities["h_0"] = quantity
    assert "<img" not in page
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&amp;" in page
    assert data_of(page)["quantities"]["h_0"]["name"] == evil
    assert "onerror" not in latex or r"\&" in latex


@pytest.mark.parametrize("notation", ["columns", "rows"])
def test_a_batch_can_be_gone_through_sample_by_sample(notation: str) -> None:
    page = textbook(notation=notation, batch=5).html()
    assert page.count("<option value=") == 5
    assert '<select id="sample">' not in textbook().html()
