"""The page in a headless Chromium: steps, keys, heat maps, samples, accessibility, and how it looks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_mlp.explanation.explain import Explanation, explain
from gpu_mlp.explanation.numbers import number
from tests.browser import CHROMIUM, Browser
from tests.explanation.examples import textbook
from tests.explanation.test_page import EVIL, LATEX, mnist, model_of

AXE = Path(__file__).parents[1] / "axe" / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

STATUS = "document.getElementById('status').textContent"
SHOWN = "[...document.querySelectorAll('article.step')].filter((step) => !step.hidden).map((step) => step.id)"
CELLS = (
    "[...document.querySelectorAll('#matrix tbody tr')].map((row) => "
    "[...row.querySelectorAll('td')].map((cell) => cell.textContent))"
)
NAME = "document.getElementById('matrix-name').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


def opened(browser: Browser, folder: Path, found: Explanation, **settings: Any) -> Browser:
    page = folder / "page.html"
    page.write_text(found.html(), encoding="utf-8")
    browser.open(page, **settings)
    return browser


def expected_cells(found: Explanation, key: str) -> list[list[str]]:
    return [[number(float(value)) for value in row] for row in found.walk.quantities[key].values]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_it_opens_quietly_and_fits(browser: Browser, folder: Path, width: int, dark: bool) -> None:
    opened(browser, folder, textbook(batch=12), width=width, dark=dark)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.errors == []
    assert browser.requests == [(folder / "page.html").as_uri()]
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == dark
    picture = folder / f"page-{width}{'-dark' if dark else ''}.png"
    browser.screenshot(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 50_000


def test_an_error_of_the_script_would_be_heard(browser: Browser, folder: Path) -> None:
    """The negative control, of requests too."""
    page = folder / "broken.html"
    page.write_text("<script>missing();</script><img src='none.png'>", encoding="utf-8")
    browser.open(page)
    browser.evaluate("new Promise((done) => setTimeout(done, 200))")
    assert any("missing" in error for error in browser.errors)
    assert len(browser.requests) == 2


def test_the_button_walks_through_all_steps_in_order(browser: Browser, folder: Path) -> None:
    found = textbook()
    opened(browser, folder, found)
    for step in found.walk.steps:
        assert browser.evaluate(SHOWN) == [f"step-{step.number}"]
        assert browser.evaluate(STATUS) == f"Step {step.number} of 24"
        assert browser.evaluate(CELLS) == expected_cells(found, step.result)
        assert browser.evaluate("document.getElementById('next').disabled") == (step.number == 24)
        browser.evaluate("document.getElementById('next').click()")
    browser.evaluate("document.getElementById('back').click()")
    assert browser.evaluate(SHOWN) == ["step-23"]
    assert browser.errors == []


def test_arrow_keys_and_the_slider_go_from_step_to_step(browser: Browser, folder: Path) -> None:
    opened(browser, folder, textbook())
    for key, number_of_step in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("ArrowLeft", 1)):
        browser.press(key)
        assert browser.evaluate(SHOWN) == [f"step-{number_of_step}"]
    browser.press("ArrowLeft")
    assert browser.evaluate(SHOWN) == ["step-1"]
    browser.evaluate(
        "(() => { const slider = document.getElementById('slider'); slider.value = 12; "
        "slider.dispatchEvent(new Event('input')); })()"
    )
    assert browser.evaluate(SHOWN) == ["step-12"]


def test_arrow_keys_scroll_what_is_wider_than_its_place(browser: Browser, folder: Path) -> None:
    """On a phone the drawing is; it can be focused for that."""
    opened(browser, folder, textbook(), width=390)
    browser.evaluate("document.querySelector('.scroll:has(svg)').focus()")
    browser.press("ArrowRight")
    assert browser.evaluate(SHOWN) == ["step-1"]
    browser.wait_for("document.querySelector('.scroll:has(svg)').scrollLeft > 0")


def test_a_notebooks_frame_runs_the_page(browser: Browser, folder: Path) -> None:
    page = folder / "notebook.html"
    page.write_text(f"<!doctype html><title>n</title>{textbook()._repr_html_()}", encoding="utf-8")
    browser.open(page)
    frame = "document.querySelector('iframe').contentDocument"
    browser.wait_for(f"{frame}.getElementById('status')?.textContent === 'Step 1 of 24'")
    assert browser.errors == []


def test_a_step_can_be_asked_for(browser: Browser, folder: Path) -> None:
    opened(browser, folder, textbook(), fragment="#step=13")
    assert browser.evaluate(SHOWN) == ["step-13"]


@pytest.mark.parametrize("notation", ["columns", "rows"])
def test_pointing_at_a_term_shows_its_matrix_as_a_heat_map(
    browser: Browser, folder: Path, notation: str
) -> None:
    found = textbook(notation=notation)
    opened(browser, folder, found, fragment="#step=11")
    browser.point_at("#step-11 math .term[data-key='omega_3']")
    browser.wait_for(f"{NAME}.startsWith('Ω₃ (2, 3): weights into the output, given')")
    assert browser.evaluate(CELLS) == expected_cells(found, "omega_3")
    shares = browser.evaluate(
        "[...document.querySelectorAll('#matrix tbody td')].map((cell) => cell.style.getPropertyValue('--share'))"
    )
    values = np.abs(found.walk.quantities["omega_3"].values.ravel())
    np.testing.assert_allclose([float(share) for share in shares], values / values.max(), atol=0.006)
    browser.evaluate("document.querySelector('#step-11 .chip[data-key=dl_df_3]').focus()")
    assert browser.evaluate(NAME).endswith("the first bracket, computed in step 10")
    assert browser.evaluate("document.querySelectorAll('.chip[aria-pressed=true]').length") > 0


def test_the_network_lights_up_with_the_step(browser: Browser, folder: Path) -> None:
    found = textbook()
    lit = "[...document.querySelectorAll('svg .lit')].map((group) => group.dataset.keys.split(' ')[0])"
    opened(browser, folder, found, fragment="#step=3")
    assert browser.evaluate(lit) == ["omega_1", "f_0", "f_1"]
    assert browser.evaluate("document.querySelector('svg .edges.lit').classList.contains('forward')")
    browser.evaluate("document.getElementById('slider').value = 13")
    browser.evaluate("document.getElementById('slider').dispatchEvent(new Event('input'))")
    assert browser.evaluate(lit) == ["omega_2", "f_1", "f_2"]
    assert browser.evaluate("document.querySelector('svg .edges.lit').classList.contains('backward')")
    texts = browser.evaluate(
        "[...document.querySelectorAll('svg .column')].map((column) => "
        "[column.querySelector('.symbol').textContent, "
        "...[...column.querySelectorAll('.unit text')].map((text) => text.textContent)])"
    )
    assert [column[0] for column in texts] == ["h₀", "h₁", "dL/dh₂", "dL/df₂", "dL/df₃", "L"]
    values = found.walk.quantities["dl_df_3"].values[:, 0]
    np.testing.assert_allclose([float(text) for text in texts[4][1:]], values, atol=0.006)


def test_samples_are_gone_through_one_by_one(browser: Browser, folder: Path) -> None:
    found = textbook(batch=12)
    opened(browser, folder, found, fragment="#step=2")
    output = "[...document.querySelectorAll('svg .column')][1].querySelector('.unit text').textContent"
    for sample in (0, 5, 11):
        browser.evaluate(
            f"(() => {{ const select = document.getElementById('sample'); select.value = {sample}; "
            "select.dispatchEvent(new Event('change')); })()"
        )
        expected = found.walk.quantities["h_1"].values[0, sample]
        assert float(browser.evaluate(output)) == pytest.approx(float(expected), abs=0.006)
        current = browser.evaluate(
            "[...document.querySelectorAll('#matrix td.current')].map((cell) => cell.textContent)"
        )
        assert current == [number(float(value)) for value in found.walk.quantities["h_1"].values[:, sample]]
    assert browser.evaluate("document.querySelector('.folded').textContent") == "Not shown: 4 other samples."


def test_a_models_names_head_the_rows_and_run_nothing(browser: Browser, folder: Path) -> None:
    opened(browser, folder, explain(model_of(EVIL, LATEX), [1.0, 2.0], 1))
    browser.evaluate("document.querySelector('#step-1 .chip[data-key=h_0]').click()")
    heads = "[...document.querySelectorAll('#matrix tbody th')].map((head) => head.textContent)"
    assert browser.evaluate(heads) == [EVIL, "b"]
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert browser.errors == []


def test_a_large_layer_is_folded_with_the_honest_count(browser: Browser, folder: Path) -> None:
    found = mnist()
    opened(browser, folder, found)
    assert "Not shown: 500 rows, 56 other samples." in browser.evaluate("document.body.textContent")
    cells = [row for row in browser.evaluate(CELLS) if row]
    quantity = found.walk.quantities["f_0"].values
    assert cells[0] == [number(float(value)) for value in quantity[0, :8]]
    assert cells[-1] == [number(float(value)) for value in quantity[511, :8]]
    browser.point_at("#step-1 math .term[data-key='omega_0']")
    browser.wait_for(f"{NAME}.startsWith('Ω₀ (512, 784)')")
    assert (
        browser.evaluate("document.querySelector('.folded').textContent")
        == "Not shown: 500 rows, 772 columns."
    )
    assert browser.errors == []


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed (npm install --prefix tests/axe)")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
@pytest.mark.parametrize("step", [3, 13])
def test_axe_finds_no_violation(browser: Browser, folder: Path, width: int, dark: bool, step: int) -> None:
    opened(browser, folder, textbook(batch=12), width=width, dark=dark, fragment=f"#step={step}")
    assert violations(browser) == []


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed (npm install --prefix tests/axe)")
def test_axe_would_find_one(browser: Browser, folder: Path) -> None:
    """The negative control."""
    opened(browser, folder, textbook())
    browser.evaluate("document.getElementById('slider').removeAttribute('aria-label')")
    assert [found["id"] for found in violations(browser)] == ["label"]


def violations(browser: Browser) -> list[dict[str, Any]]:
    """Of every rule, with the elements concerned."""
    browser.evaluate(AXE.read_text(encoding="utf-8") + "; true")
    found = browser.evaluate(
        "axe.run().then((result) => JSON.stringify(result.violations.map((each) => "
        "({id: each.id, impact: each.impact, nodes: each.nodes.slice(0, 3).map((node) => node.html)}))))"
    )
    return json.loads(found)  # type: ignore[no-any-return]
