"""The page as a file: one, with nothing from elsewhere, with every step and the numbers that its script shows."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.data import Preparation, Target, read_table
from gpu_mlp.explanation.explain import Explanation, explain
from gpu_mlp.explanation.page import MOST_COLUMNS, MOST_ROWS, MOST_SAMPLES
from tests.explanation.examples import explained, problems, textbook

EVIL = "</script><img src=x onerror=1>"
LATEX = r"\input{x}%&_#$"
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


def test_names_from_a_model_are_shown_and_escaped() -> None:
    found = explain(model_of(EVIL, LATEX), [1.0, 2.0], 1)
    page, latex, text = found.html(), found.latex(), found.text()
    shown = data_of(page)["quantities"]
    assert shown["h_0"]["unitNames"] == [EVIL, "b"]
    assert shown["y"]["unitNames"] == shown["p"]["unitNames"] == [LATEX, "other"]
    assert shown["f_0"]["unitNames"] == []
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert r"Units: \textbackslash{}input\{x\}\%\&\_\#\$, other." in latex
    assert r"Units: \textless{}/script\textgreater{}\textless{}img" in latex
    assert f"units: {EVIL}, b" in text
    assert found.document()["quantities"]["h_0"]["unit_names"] == [EVIL, "b"]


def test_names_that_do_not_print_or_are_long_are_shortened() -> None:
    found = explain(model_of("a\n\x1b[31m", "c" * 100), [1.0, 2.0], 1)
    quantities = found.walk.quantities
    assert quantities["h_0"].unit_names == (r"a\n\x1b[31m", "b")
    assert quantities["y"].unit_names == ("c" * 37 + "...", "other")


def model_of(column: str, label: str) -> gpu_mlp.Model:
    """With a column and a class of these names."""
    table = read_table({column: [1.0, 2.0, 4.0], "b": [3.0, 1.0, 2.0]})
    network = gpu_mlp.Network((2, 3, 2), dtype="float64", device="cpu")
    return gpu_mlp.Model(
        network,
        gpu_mlp.Loss("softmax_cross_entropy"),
        target=Target("t", "classification", (label, "other")),
        preparation=Preparation.fit(table, [column, "b"]),
    )


@pytest.mark.parametrize("notation", ["columns", "rows"])
def test_a_batch_can_be_gone_through_sample_by_sample(notation: str) -> None:
    page = textbook(notation=notation, batch=5).html()
    assert page.count("<option value=") == 5
    assert '<select id="sample">' not in textbook().html()
