"""Headless Chromium: clicks, types and pastes like a person, and records requests and errors."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
SECONDS = 20  # that anything may take on a machine that is busy


def reason_without() -> str | None:
    """Why the browser cannot start; None if it can."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(missing)} are not installed (tools/install_browser.sh)" if missing else None


class Chromium:
    """One browser with one page.

    Args:
        folder: for its profile and what it downloads.
    """

    def __init__(self, folder: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in [*FLAGS.split(), f"--user-data-dir={folder / 'profile'}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(60)
        self.downloads = folder / "downloads"
        self.downloads.mkdir()
        allowed = {"behavior": "allow", "downloadPath": str(self.downloads)}
        self.command("Browser.setDownloadBehavior", **allowed)

    def command(self, name: str, **arguments: Any) -> Any:
        """Run a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def open(self, address: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a page in a window of this size, with reduced motion and empty logs."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.prefer(scheme="dark" if dark else "light")
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(address)

    def prefer(self, scheme: str = "light", motion: str = "reduce") -> None:
        """Set the preferences of the user."""
        preferences = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in preferences.items()]
        self.command("Emulation.setEmulatedMedia", features=features)

    def close(self) -> None:
        self.driver.quit()

    # ---- what a person does ----

    def click(self, name: str) -> None:
        """Click on the element of an id."""
        self.find(name).click()

    def type(self, text: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        ActionChains(self.driver).send_keys(text).perform()

    def paste(self, text: str) -> None:
        """Insert text at once, wherever the focus is."""
        self.command("Input.insertText", text=text)

    # ---- what a person sees ----

    def find(self, name: str) -> Any:
        return self.driver.find_element(By.ID, name)

    def text(self, name: str) -> str:
        """Visible text of the element of an id."""
        text: str = self.find(name).text
        return text

    def wait(self, script: str) -> Any:
        """Wait until a JavaScript expression holds, and return it."""
        wait = WebDriverWait(self.driver, SECONDS, poll_frequency=0.05)
        return wait.until(lambda driver: driver.execute_script(f"return {script}"), f"not yet: {script}")

    def evaluate(self, script: str, *arguments: Any) -> Any:
        """Run the body of an asynchronous function of ``a``, the arguments, and return what it returns."""
        return self.driver.execute_async_script(
            f"const a = Array.from(arguments), done = a.pop(); (async () => {{ {script} }})().then(done);",
            *arguments,
        )

    def focused(self) -> str:
        """Id of the element that has the focus, else its text."""
        name: str = self.driver.execute_script(
            "return document.activeElement.id || document.activeElement.textContent"
        )
        return name

    def shoot(self, name: str) -> None:
        """Save a screenshot of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        screenshot = self.command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(screenshot["data"]))

    # ---- what went wrong, and what went out ----

    def complaints(self) -> list[str]:
        """Messages and errors of the console."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Requested addresses, without those of data in the page and those that the policy blocked."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        failed = [each["params"] for each in messages if each["method"] == "Network.loadingFailed"]
        held_out = {each["requestId"] for each in failed if each.get("blockedReason") == "csp"}
        sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
        addresses = [each["request"]["url"] for each in sent if each["requestId"] not in held_out]
        return [address for address in addresses if not address.startswith(("data:", "blob:"))]
