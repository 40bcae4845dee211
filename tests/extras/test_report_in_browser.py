"""The report in a real browser: hostile text stays text, nothing is asked of the network, samples can be browsed."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
if not CHROMIUM.exists():
    pytest.skip("there is no /usr/bin/chromium", allow_module_level=True)

sys.path.append(str(Path(__file__).parents[1] / "plugins"))
from report_runs import whole  # noqa: E402

from r1_plugins.report.write import write  # noqa: E402

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = whole(tmp_path_factory.mktemp("runs") / "toy")
    write(folder)
    assert (folder / "report.html").stat().st_size < 3_000_000
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield opened
        opened.close()


class Watched:
    """A page, and what its console said and what it asked for."""

    def __init__(self, browser: playwright.Browser, url: str, *, width: int = 1280, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_opens_without_a_word_and_fits(browser: playwright.Browser, url: str, width: int, scheme: str) -> None:
    watched = Watched(browser, url, width=width, scheme=scheme)
    assert watched.said == []
    assert [each for each in watched.asked if not each.startswith("data:")] == [url]
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    light = watched.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(252, 251, 248)"
    assert light is (scheme == "light")


def test_the_theme_can_be_switched(browser: playwright.Browser, url: str) -> None:
    page = Watched(browser, url).page
    colours = []
    for _ in range(3):
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.click("#theme")
    assert colours[0] == colours[1] != colours[2]


def test_hostile_text_is_read_and_not_run(browser: playwright.Browser, url: str) -> None:
    watched = Watched(browser, url)
    shown = watched.page.inner_text("#answers")
    assert "<script>alert(1)</script>" in shown
    assert "␛[31mred" in shown
    assert "[U+202E]evil" in shown
    assert watched.page.locator("#answers script, #answers img").count() == 0
    assert watched.said == []


def test_the_policy_stops_what_would_get_through(browser: playwright.Browser, url: str) -> None:
    watched = Watched(browser, url)
    watched.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=http://127.0.0.1:9/x onerror=alert(1)>')"
    )
    watched.page.wait_for_timeout(200)
    assert any("Content Security Policy" in line for line in watched.said)
    assert "1" not in watched.said


def test_samples_turn_by_click_and_by_key_and_can_be_filtered(browser: playwright.Browser, url: str) -> None:
    page = Watched(browser, url).page
    assert page.inner_text("#place") == "1 of 3"
    page.click("#next")
    assert page.inner_text("#place") == "2 of 3"
    assert page.inner_text("#question").startswith("What is 3+1?")
    page.focus("#browser")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#place") == "3 of 3"
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#place") == "2 of 3"
    assert page.locator("#answers h4").all_inner_texts()[0].startswith("base")
    page.select_option("#only", "gained")
    assert page.inner_text("#place") == "1 of 1"
    assert [each.split()[1:3] for each in page.locator("#answers h4").all_inner_texts()] == [
        ["✗", "wrong"],
        ["✓", "right"],
    ]


def test_other_sets_can_be_chosen_and_other_answers_to_a_problem(browser: playwright.Browser, url: str) -> None:
    page = Watched(browser, url).page
    first = page.locator("#answers article").first
    assert "✗ wrong" in first.inner_text()
    assert first.locator(".another").inner_text() == "answer 1 of 2"
    first.locator(".another").click()
    assert first.locator(".another").inner_text() == "answer 2 of 2"
    assert "✓ right" in first.inner_text()
    page.keyboard.press("Enter")  # the button that takes its place has the focus
    assert "✗ wrong" in first.inner_text()
    page.select_option("#source", label="table · greedy")
    assert page.inner_text("#place") == "1 of 2"
    assert page.locator(".another").count() == 0


@pytest.mark.parametrize(("width", "shown", "hidden"), [(1280, "broad", "narrow"), (400, "narrow", "broad")])
def test_a_page_has_the_drawings_of_its_width(
    browser: playwright.Browser, url: str, width: int, shown: str, hidden: str
) -> None:
    page = Watched(browser, url, width=width).page
    assert page.locator(f"main svg.{shown}").first.is_visible()
    assert not any(each.is_visible() for each in page.locator(f"main .{hidden}").all())
    for each in page.locator(f"main svg.{shown}").all():
        box = each.bounding_box()
        assert box is None or box["x"] + box["width"] <= width
    assert page.locator("ol.steps").is_visible() is (width == 400)


def edges(table: playwright.Locator) -> tuple[int, int]:
    """How bright a table's frame is at its left and at its right edge, away from words, 0..255."""
    picture = Image.open(io.BytesIO(table.screenshot())).convert("L")
    across = [picture.getpixel((x, picture.height - 3)) for x in (1, picture.width - 2)]
    return int(across[0]), int(across[1])


def test_a_table_wider_than_the_page_shows_that_it_goes_on(browser: playwright.Browser, url: str) -> None:
    page = Watched(browser, url, width=400).page
    frame = page.locator("#models .scroll").first
    paper = edges(frame)
    assert paper[0] == paper[1]
    frame.locator("table").evaluate("table => { table.style.width = '900px' }")
    assert frame.evaluate("frame => frame.scrollWidth > frame.clientWidth")
    left, right = edges(frame)
    assert left > right + 20
    frame.evaluate("frame => { frame.scrollLeft = frame.scrollWidth }")
    left, right = edges(frame)
    assert right > left + 20


def test_a_pointer_over_a_chart_reads_its_values(browser: playwright.Browser, url: str) -> None:
    page = Watched(browser, url).page
    chart = page.locator("#learning svg.chart").first
    assert page.is_hidden("#tip")
    chart.hover(position={"x": 60, "y": 60})
    assert page.inner_text("#tip").splitlines() == ["step 1", "zero  10.0 %", "zero, held held out  10.0 %"]


CLOSED = "count => document.querySelectorAll('details:not([open])').length === count"
"""The browser tells the page of another medium at the next frame, so this is waited for."""


def test_it_can_be_printed(browser: playwright.Browser, url: str, tmp_path: Path) -> None:
    page = Watched(browser, url, scheme="dark").page
    closed = page.locator("details:not([open])").count()
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(252, 251, 248)"
    assert page.is_hidden(".sections")
    assert page.locator("details").count() > 3
    page.wait_for_function(CLOSED, arg=0)
    assert page.locator("svg.broad").first.is_visible()
    assert len(page.pdf(path=str(tmp_path / "report.pdf"))) > 10_000
    page.emulate_media(media="screen")
    assert closed > 0
    page.wait_for_function(CLOSED, arg=closed)
