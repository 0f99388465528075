"""A headless Chromium that a test drives as a reader would: keys, widths, dark colours, downloads.

It speaks the DevTools protocol over two pipes (`--remote-debugging-pipe`: JSON messages that end with a zero byte), so no
further package is needed. Scripts of a test run beside the page's own under its real Content-Security-Policy.
"""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
LIMIT_S = 60.0
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40}
CONTROL, SHIFT = 2, 8


class Chromium:
    """The browser, with its profile and its `downloads` in a folder; `open` gives a page of its own."""

    def __init__(self, folder: Path) -> None:
        self.downloads = folder / "downloads"
        (theirs_in, ours_out), (ours_in, theirs_out) = _pipe(), _pipe()
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
        command = [BROWSER, *flags, f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe"]
        script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(["bash", "-c", script, "bash", *command], pass_fds=(theirs_in, theirs_out),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out, self._left, self._calls = ours_in, ours_out, b"", 0
        self.events: list[dict[str, Any]] = []
        self.call("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(self.downloads)})

    def open(self, url: str, width: int = 1280, dark: bool = False) -> "Page":
        """A page of this width in pixels, in the dark colours of its style where it has some."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.call("Page.navigate", url=url)
        page.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page

    def call(self, method: str, params: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """The result of a command; raises RuntimeError where the browser refuses it."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": params}
        os.write(self._out, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while (answer := self._read()).get("id") != self._calls:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            assert select.select([self._in], [], [], LIMIT_S)[0], "Chromium does not answer"
            more = os.read(self._in, 2**16)
            assert more, "Chromium has ended"
            self._left += more
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._in)
        os.close(self._out)


class Page:
    """A page of the browser."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self.browser, self.session = browser, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, params, self.session)

    def js(self, expression: str) -> Any:
        """The value of an expression, waited for where it is a promise."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, (expression, found["exceptionDetails"])
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """The value of an expression as soon as it is true."""
        end = time.monotonic() + LIMIT_S
        while not (found := self.js(expression)):
            assert time.monotonic() < end, f"never true: {expression}\n{self.js('document.body.innerText')}"
            time.sleep(0.02)
        return found

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press and release a key of KEYS."""
        named = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        text = {} if modifiers else {"text": {"Enter": "\r", " ": " "}.get(key, "")}
        self.call("Input.dispatchKeyEvent", type="keyDown", modifiers=modifiers, **named, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", modifiers=modifiers, **named)

    def type(self, text: str) -> None:
        """Insert a text where the focus is."""
        self.call("Input.insertText", text=text)

    def _events(self, method: str) -> list[dict[str, Any]]:
        own = [event for event in self.browser.events if event.get("sessionId") == self.session]
        return [event["params"] for event in own if event["method"] == method]

    @property
    def console(self) -> list[Any]:
        """Everything the page or the browser wrote to the console, uncaught errors and breaches of the policy too."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for kind in kinds for event in self._events(kind)]

    @property
    def requests(self) -> list[str]:
        """The URLs that were asked for."""
        return [event["request"]["url"] for event in self._events("Network.requestWillBeSent")]

    def axe(self) -> dict[str, list[str]]:
        """What axe-core finds moderate, serious or critical: rule -> elements."""
        spec = find_spec("axe_core_python")
        if spec is None or spec.origin is None:
            pytest.skip("axe-core is not installed: pip install axe-core-python")
        self.js(Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8") + "; true")
        found = self.js("axe.run()")["violations"]
        bad = [each for each in found if each["impact"] in ("moderate", "serious", "critical")]
        return {each["id"]: [node["html"][:200] + node["failureSummary"] for node in each["nodes"]] for each in bad}


def _pipe() -> tuple[int, int]:
    """A pipe whose numbers are not those that the browser's ends get."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
