"""The page of `halfstep serve`, in a browser."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from urllib.request import urlopen

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

import halfstep as hs
from benchmarks.servers import server
from browser import Browser, chromium, new_tab, programs
from halfstep.serve.keys import add_key

pytestmark = pytest.mark.slow

MARKUP = "<script>alert('user')</script>"
HOSTILE_USERS = [MARKUP, "a/b?c=d#e", 'O\'Brien "100%"', "مرحبا", "user & <b>"]
HOSTILE_ITEMS = ["<img src=x onerror=alert('item')>", "x/y/similar", "\"'&amp;", "50%", "שלום"]
TITLES = {
    "50%": "</a><script>alert('title')</script>",
    "x/y/similar": "עולם (1999) & co.",
    "song-00": "Ünïcödé / “Song”",
}
LARGE = 9_007_199_254_740_993  # an integer that a JavaScript number cannot hold
ROWS = ".card:first-child li"
HISTORY = ".card:last-child li"


class Page(NamedTuple):
    """A served page, and a key for it."""

    url: str
    key: str = ""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    found = programs()
    if found is None:
        if os.environ.get("HALFSTEP_TEST_SERVICES") == "required":
            pytest.fail("Chromium or chromedriver is not installed")
        pytest.skip("Chromium or chromedriver is not installed")
    with chromium(*found, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def browser(driver: webdriver.Chrome) -> Iterator[Browser]:
    with new_tab(driver) as tab:
        yield tab


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Numbers of plays, with ids that are not only letters and digits."""
    users = [f"listener-{number:02}" for number in range(30)] + HOSTILE_USERS
    items = [f"song-{number:02}" for number in range(20)] + HOSTILE_ITEMS
    data = random_interactions(users, items, share=0.3, largest=9)
    model = hs.ALS(hs.Implicit(), rank=4, iterations=3, random_state=0).fit(replace(data, item_titles=TITLES))
    with server(saved(model, tmp_path_factory)) as started:
        yield Page(f"{started.url}/")


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Ratings with integer ids and titles, behind keys."""
    items = [1, 2, 3, 4, 5, 6, 7, LARGE]
    data = random_interactions(list(range(20)), items, share=0.5, largest=5)
    titles = {item: f"Movie {item}" for item in items}
    model = hs.ALS(hs.Explicit(), rank=2, iterations=3, random_state=0).fit(replace(data, item_titles=titles))
    path = saved(model, tmp_path_factory)
    keys = path.with_name("keys.json")
    key = add_key(keys, "test", ["admin"])
    with server(path, "--keys", keys) as started:
        yield Page(f"{started.url}/", key)


def random_interactions(users: list, items: list, *, share: float, largest: int) -> hs.Interactions:
    rng = np.random.default_rng(0)
    cells = [(user, item) for user in users for item in items if rng.random() < share]
    values = rng.integers(1, largest + 1, len(cells)).astype(float)
    return hs.Interactions.from_arrays([user for user, _ in cells], [item for _, item in cells], values)


def saved(model: hs.ALS, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "model.halfstep"
    model.save(path)
    return path


def link(page: Page, view: str, id_: object) -> str:
    return f"{page.url}#{view}={quote(str(id_), safe='')}"


def names(browser: Browser, rows: str) -> list[str]:
    return browser.texts(f"{rows} .name > a")


def give_key(browser: Browser, page: Page) -> None:
    """Give the key in this tab."""
    browser.open(page.url)
    browser.one("dialog input").send_keys(page.key, Keys.ENTER)
    browser.one(".chips a")
    browser.wait(lambda: browser.texts(".numbers dd"), "the status is filled")
    assert all("401" in message for message in browser.log())


def test_a_listener_is_found_by_keyboard_and_plays_a_song(browser: Browser, plays: Page) -> None:
    browser.open(plays.url)
    browser.one(".chips a")
    while browser.focused().get_attribute("role") != "combobox":
        browser.press(Keys.TAB)
    browser.press(*"LISTENER-0")
    browser.wait(lambda: len(browser.all("[role=option]")) == 6, "five users and a new one are suggested")
    field = browser.focused()
    assert field.get_attribute("aria-expanded") == "true"
    browser.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    browser.wait(lambda: browser.texts("[aria-selected=true]") == ["listener-01"], "the second user is active")
    assert field.get_attribute("aria-activedescendant") == browser.one("[aria-selected=true]").get_attribute("id")
    browser.press(Keys.ESCAPE)
    assert field.get_attribute("aria-expanded") == "false"
    browser.press("3", Keys.ENTER)  # chooses the first one

    browser.wait(lambda: browser.driver.current_url.endswith("#user=listener-03"), "the user is opened")
    browser.wait(lambda: browser.focused().text == "listener-03", "the heading has the focus")
    browser.wait(
        lambda: ["because of" in text for text in browser.texts(f"{ROWS} .because")] == [True] * 10,
        "there are reasons",
    )
    listed, played = names(browser, ROWS), names(browser, HISTORY)
    assert len(listed) == 10
    assert not {*listed} & {*played}

    song = listed[2]
    browser.one(f"{ROWS}:nth-child(3) button").send_keys(Keys.ENTER)
    browser.wait(lambda: names(browser, HISTORY) == [song, *played], "the song is the latest of the history")
    assert song not in names(browser, ROWS)
    browser.wait(lambda: browser.texts("#announcement")[0].startswith(f"Played {song}."), "it is announced")
    browser.wait(lambda: browser.focused().get_attribute("aria-label") == f"Played {names(browser, ROWS)[2]}",
                 "the next song has the focus")  # fmt: skip
    browser.wait(lambda: "1 event in the last hour" in browser.texts(".plot p"), "the plot has the event")


def test_the_view_of_an_item_has_similar_items(browser: Browser, plays: Page) -> None:
    browser.open(link(plays, "user", "listener-07"))
    song = browser.one(f"{ROWS} .name > a")
    title = song.text
    song.click()
    browser.wait(lambda: browser.texts("h1") == [title], "the item is opened")
    browser.wait(lambda: len(browser.all(ROWS)) == 12, "there are similar items")
    assert title not in names(browser, ROWS)
    assert browser.driver.title == f"{title} · halfstep"
    browser.driver.back()
    browser.wait(lambda: browser.texts("h1") == ["listener-07"], "the user is opened again")


@pytest.mark.parametrize("user", HOSTILE_USERS)
def test_ids_of_users_are_not_parsed_as_html(browser: Browser, plays: Page, user: str) -> None:
    browser.open(plays.url)
    browser.one("#search input").send_keys(user)
    browser.wait(lambda: user in browser.texts("[role=option] > :first-child"), "the user is suggested")
    browser.press(Keys.ENTER)
    browser.wait(lambda: browser.texts("h1") == [user], "the user is opened")
    browser.wait(lambda: browser.all(HISTORY), "there is a history")
    item = names(browser, ROWS)[0]
    browser.one(f"{ROWS} .control button").click()
    browser.wait(lambda: names(browser, HISTORY)[0] == item, "the event is stored")
    assert browser.all("main script, main img") == []


@pytest.mark.parametrize("item", HOSTILE_ITEMS)
def test_ids_and_titles_of_items_are_not_parsed_as_html(browser: Browser, plays: Page, item: str) -> None:
    browser.open(link(plays, "item", item))
    browser.wait(lambda: browser.texts("h1") == [TITLES.get(item, item)], "the item is opened")
    browser.wait(lambda: browser.all(ROWS), "there are similar items")
    assert browser.all("main script, main img") == []


def test_a_visitor_gets_recommendations_for_chosen_items(browser: Browser, plays: Page) -> None:
    browser.open(f"{plays.url}#visitor")
    browser.one("main [role=combobox]").send_keys("song-05")
    browser.one("main [role=option]").click()
    browser.wait(lambda: names(browser, HISTORY) == ["song-05"], "the item is chosen")
    browser.wait(lambda: len(names(browser, ROWS)) == 10, "there are recommendations")
    second = names(browser, ROWS)[0]
    browser.one(f"{ROWS} button").click()
    browser.wait(lambda: names(browser, HISTORY) == [second, "song-05"], "the second item is chosen")
    browser.wait(lambda: second not in names(browser, ROWS), "it is not recommended any more")
    browser.one(f"{HISTORY} button").click()
    browser.wait(lambda: names(browser, HISTORY) == ["song-05"], "it is removed")


def test_a_key_is_asked_for_and_kept_in_the_tab(browser: Browser, ratings: Page) -> None:
    browser.open(link(ratings, "user", 3))
    browser.one("dialog input").send_keys("wrong", Keys.ENTER)
    browser.wait(lambda: "does not accept this key" in "".join(browser.texts("dialog")), "it is asked for again")
    browser.one("dialog input").send_keys(ratings.key, Keys.ENTER)
    browser.wait(lambda: browser.all(ROWS) and browser.all(HISTORY), "the lists are filled")
    browser.wait(lambda: browser.texts(".numbers dd"), "the status is filled")
    assert browser.all("dialog") == []
    stored = "return [localStorage.length, document.cookie, sessionStorage.getItem('halfstep-key')]"
    assert browser.driver.execute_script(stored) == [0, "", ratings.key]
    assert all("401" in message for message in browser.log())


def test_a_rating_by_keyboard_changes_the_list(browser: Browser, ratings: Page) -> None:
    give_key(browser, ratings)
    browser.open(link(ratings, "user", 5))
    title = f"Movie {LARGE}"
    browser.wait(lambda: title in names(browser, ROWS), "the item is recommended")
    browser.one(f"[aria-label='Rate {title}'] [tabindex='0']").send_keys(Keys.ARROW_RIGHT, "")
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert title in names(browser, ROWS)  # arrow keys do not rate
    browser.press(Keys.SPACE)
    browser.wait(lambda: names(browser, HISTORY)[0] == title, "the rating is stored")
    assert title not in names(browser, ROWS)
    assert browser.texts(f"{HISTORY} .value")[0] == "★ 4"
    assert browser.one(f"{HISTORY} a").get_attribute("href") == link(ratings, "item", LARGE)
    browser.wait(lambda: "4 stars." in browser.texts("#announcement")[0], "it is announced")


def test_a_user_is_erased_after_a_confirmation(browser: Browser, ratings: Page) -> None:
    give_key(browser, ratings)
    browser.open(link(ratings, "user", 7))
    browser.wait(lambda: browser.all(ROWS) and browser.all(HISTORY), "the lists are filled")
    erase = browser.one(".heading button")
    erase.click()
    browser.press(Keys.ESCAPE)
    browser.wait(lambda: not browser.all("dialog"), "the question is closed")
    assert browser.all(HISTORY)
    erase.click()
    browser.one("dialog .danger").click()
    browser.wait(lambda: "No interactions yet." in browser.text(), "the history is empty")
    browser.wait(lambda: "This user is not in the model" in browser.text(), "popular items are listed")
    assert all("404" in message for message in browser.log())


def test_the_reference_lists_all_routes(browser: Browser, plays: Page) -> None:
    browser.open(f"{plays.url}docs.html")
    browser.one(".route")
    with urlopen(f"{plays.url}openapi.json") as answer:
        paths = json.load(answer)["paths"]
    routes = [f"{method.upper()}{path}" for path, methods in paths.items() for method in methods]
    assert browser.texts(".route h2:has(.method)") == routes
    events = browser.one("[id='post/v1/events']")
    assert {"event_id", "list_id", "StoredEvents"} <= {*events.text.split()}
    assert f"curl -X POST '{plays.url}v1/events'" in events.text
    history = browser.one("[id='get/v1/users/{user}/history']")
    history.find_element("css selector", "input").send_keys("a/b?c=d#e")
    assert f"curl '{plays.url}v1/users/a%2Fb%3Fc%3Dd%23e/history'" in history.text
    history.find_element("xpath", ".//button[.='Send']").click()
    browser.wait(lambda: '"count":' in history.text, "the answer is shown")


def test_a_phone_needs_no_horizontal_scrolling(browser: Browser, plays: Page) -> None:
    views = {
        plays.url: ".chips a", link(plays, "user", MARKUP): f"{ROWS} .because a", link(plays, "item", "50%"): ROWS,
        f"{plays.url}#visitor": ".empty", f"{plays.url}docs.html": ".route",
    }  # fmt: skip
    for url, content in views.items():
        browser.open(url)
        browser.one(content)
        for width in (390, 360):
            browser.resize(width, 800)
            assert browser.driver.execute_script("return document.documentElement.scrollWidth") == width, url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser: Browser, plays: Page, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.open(plays.url)
    browser.one(".chips a")
    style = "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0])"

    def luminance(name: str) -> float:
        color = browser.driver.execute_script(style, f"--{name}").strip()
        parts = np.array([*bytes.fromhex(color[1:])]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    grounds = ("background", "surface")
    pairs = [(text, ground, 4.5) for text in ("text", "muted", "accent", "danger", "star") for ground in grounds]
    pairs += [
        ("on-accent", "accent", 4.5), ("on-danger", "danger", 4.5), ("text", "tint", 4.5), ("muted", "tint", 4.5),
        ("text", "warn", 4.5), ("control", "surface", 3), ("control", "background", 3),
    ]  # fmt: skip
    for one, other, least in pairs:
        darker, lighter = sorted([luminance(one), luminance(other)])
        assert (lighter + 0.05) / (darker + 0.05) >= least, (one, other)
