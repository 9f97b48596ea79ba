"""The report in headless Chromium: content, sorting, copying, themes, and no complaint of it."""

import os
import shutil

import pytest

from reconeval.report.html import write_report
from tests.report_runs import COSTS, EVIL, PLACES, long_names, made_run

FEW = ("mse", "r2", "c2st_auc", "pathway")
N_ROWS = 3 * 2 * (len(FEW) + len(COSTS))


def start(width):
    """A browser of the system's own package; nothing is fetched."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: the extra dev")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--disable-gpu", f"--window-size={width},900"):
        options.add_argument(argument)
    options.add_argument("--force-prefers-reduced-motion")  # a page that moves cannot be clicked
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # as in a container
        options.add_argument("--no-sandbox")
    if width < 500:  # no window is so narrow
        metrics = {"width": width, "height": 900, "pixelRatio": 1.0}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    models = ["Good", EVIL, *long_names(1)]
    run = made_run(models, PLACES[:2], FEW, genes=300)
    write_report(folder / "report.html", [run], title=f"Report of {EVIL}")
    return folder


@pytest.fixture(scope="module")
def wide():
    browser = start(1280)
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def narrow():
    browser = start(400)
    yield browser
    browser.quit()


@pytest.fixture
def page(wide, folder):
    wide.get(f"file://{folder}/report.html")
    yield wide
    assert wide.get_log("browser") == []


def column(page, number):
    """Texts of a column of the table of scores, of the rows that are shown."""
    return page.execute_script(
        "return [...document.querySelectorAll('#rows tbody tr:not([hidden])')]"
        ".map((row) => row.cells[arguments[0]].textContent.trim())",
        number,
    )


def heading(page, text):
    for one in page.find_elements("css selector", "#rows thead th"):
        if one.text.strip().startswith(text):
            return one
    raise AssertionError(text)


def sort_by(page, text):
    head = heading(page, text)
    head.find_element("tag name", "button").click()
    index = page.execute_script("return arguments[0].cellIndex", head)
    return head.get_attribute("aria-sort"), column(page, index)


def test_shows_all_sections_without_a_complaint(page):
    heads = [one.text for one in page.find_elements("css selector", "main h2")]
    assert heads == [
        "Overview",
        "Scores",
        "Quality and cost",
        "Against the baseline",
        "Truth and prediction",
        "Metric health",
        "Reproduce",
        "Environment",
    ]
    assert len(column(page, 0)) == N_ROWS
    pictures = page.find_elements("css selector", "#cost svg, #predictions details[open] .two svg")
    assert len(pictures) >= 2 + 3 * 2
    assert all(one.size["height"] > 50 for one in pictures if one.is_displayed())
    requests = page.execute_script("return performance.getEntriesByType('resource').length")
    assert requests == 0


def test_a_model_called_script_does_not_run(page):
    assert page.execute_script("return window.evil === undefined")
    assert EVIL in column(page, 0)[N_ROWS // 3]


def test_headings_sort_by_numbers_both_ways(page):
    direction, values = sort_by(page, "value")
    numbers = [float(value.replace(",", "")) for value in values]
    assert direction == "ascending"
    assert numbers == sorted(numbers)
    direction, values = sort_by(page, "value")
    numbers = [float(value.replace(",", "")) for value in values]
    assert direction == "descending"
    assert numbers == sorted(numbers, reverse=True)


def test_rows_without_a_value_come_last_both_ways(page):
    n_costs = 3 * 2 * len(COSTS)
    for _ in range(2):
        _, values = sort_by(page, "skill")
        assert values[-n_costs:] == [""] * n_costs
        assert all(values[:-n_costs])


def test_one_heading_at_a_time_says_how_it_sorts(page):
    sort_by(page, "value")
    _, values = sort_by(page, "metric")
    assert values == sorted(values, key=str.lower)
    sorting = page.find_elements("css selector", "#rows [aria-sort]")
    assert [one.text.strip().split()[0] for one in sorting] == ["metric"]


def test_headings_sort_by_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    button = heading(page, "value").find_element("tag name", "button")
    button.send_keys(Keys.ENTER)
    assert heading(page, "value").get_attribute("aria-sort") == "ascending"
    outline = page.execute_script("return getComputedStyle(arguments[0]).outlineStyle", button)
    assert outline == "solid"


def test_filters_say_how_many_rows_are_left(page):
    from selenium.webdriver.support.select import Select

    page.find_element("id", "find").send_keys("good mse")
    assert set(column(page, 2)) == {"mse ↓"}
    assert page.find_element("id", "count").text == f"2 of {N_ROWS} rows"
    Select(page.find_element("id", "place")).select_by_visible_text("immune/iid")
    assert column(page, 1) == ["immune/iid"]


def test_the_exact_command_of_a_row_can_be_copied(page):
    page.find_element("id", "find").send_keys("good mse immune/iid")
    shown = [one for one in page.find_elements("css selector", ".how") if one.is_displayed()]
    assert shown[0].get_attribute("aria-label") == "Reproduce mse of Good on immune/iid"
    shown[0].click()
    dialog = page.find_element("id", "detail")
    assert dialog.is_displayed()
    assert page.find_element("id", "detail-command").text == (
        "pytest benchmarks --model mine:Good --dataset immune --split iid --seeds 3 --metrics mse"
    )
    assert "bootstrap over cells" in dialog.text
    page.find_element("id", "detail-copy").click()
    said = page.find_element("id", "detail-said")
    page.execute_async_script("setTimeout(arguments[0], 200)")
    assert said.text.startswith(("copied", "selected"))
    page.find_element("id", "detail-close").click()
    assert not dialog.is_displayed()


def test_the_theme_is_chosen_and_remembered(page):
    def ground():
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    button = page.find_element("id", "theme")
    page.execute_script("localStorage.clear()")
    assert button.text == "Theme: system"
    button.click()
    assert (button.text, ground()) == ("Theme: light", "rgb(255, 255, 255)")
    button.click()
    assert (button.text, ground()) == ("Theme: dark", "rgb(15, 19, 24)")
    page.refresh()
    assert ground() == "rgb(15, 19, 24)"
    page.find_element("id", "theme").click()
    assert page.find_element("id", "theme").text == "Theme: system"


def test_follows_the_theme_of_the_system(page):
    page.execute_script("localStorage.clear()")
    page.refresh()
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert colour == "rgb(15, 19, 24)"


def test_paper_is_white_and_nothing_on_it_is_folded(page):
    page.execute_script("localStorage.setItem('reconeval-theme', 'dark')")
    page.refresh()
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    folded = page.find_elements("css selector", "details:not([open])")
    page.execute_script("dispatchEvent(new Event('afterprint')); localStorage.clear()")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert colour == "rgb(255, 255, 255)"
    assert not folded
    assert page.find_elements("css selector", "details:not([open])")


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_only_tables_scroll_sideways(request, folder, width):
    browser = request.getfixturevalue(width)
    browser.get(f"file://{folder}/report.html")
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    inner, outer = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert inner <= outer
    assert browser.get_log("browser") == []


def test_is_read_without_scripts(wide, folder, tmp_path):
    text = (
        (folder / "report.html").read_text().replace("script-src 'sha256-", "script-src 'sha256-A")
    )
    (tmp_path / "still.html").write_text(text)
    wide.get(f"file://{tmp_path}/still.html")
    said = [one["message"] for one in wide.get_log("browser")]
    assert said
    assert all("Content Security Policy" in one for one in said)  # the script is not allowed now
    assert len(column(wide, 0)) == N_ROWS
    assert not wide.find_element("css selector", ".filter").is_displayed()
    assert not wide.find_element("id", "theme").is_displayed()
