"""A browser for tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

SECONDS = 20  # until the page shows what is waited for
OPTIONS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en-US",
    "--window-size=1280,900",
]  # fmt: skip


class Browser:
    """A tab of Chromium."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Load a page anew, also if only its fragment differs."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until a condition holds, and return its result."""
        return WebDriverWait(self.driver, SECONDS, poll_frequency=0.05).until(lambda _: condition(), what)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """Wait for an element, and return it."""
        found: WebElement = self.wait(lambda: next(iter(self.all(selector)), None), f"nothing matches {selector}")
        return found

    def texts(self, selector: str) -> list[str]:
        """Return the texts of elements at one moment."""
        script = "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)"
        found: list[str] = self.driver.execute_script(script, selector)
        return found

    def text(self) -> str:
        return self.texts("body")[0]

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def resize(self, width: int, height: int) -> None:
        """Emulate a window of this size; headless windows have a least width."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def log(self) -> list[str]:
        """Return the warnings, errors and violations of the content security policy since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


def programs() -> tuple[str, str] | None:
    """Return the paths of Chromium and its driver, if both are installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for name in names if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def chromium(browser: str, driver: str, profile: Path) -> Iterator[webdriver.Chrome]:
    """Run Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in [*OPTIONS, f"--user-data-dir={profile}"]:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING"})
    running = webdriver.Chrome(options, Service(driver))
    try:
        yield running
    finally:
        running.quit()


@contextmanager
def new_tab(driver: webdriver.Chrome) -> Iterator[Browser]:
    """Open a tab, which has its own storage; its page must not log anything."""
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    tab = Browser(driver)
    yield tab
    logged = tab.log()
    driver.close()
    driver.switch_to.window(first)
    assert logged == [], logged
