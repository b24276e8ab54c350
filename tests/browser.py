"""A headless Chromium, spoken to over two pipes by the DevTools protocol, which needs no driver and no network."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["CHROMIUM", "Browser"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MARGIN = 12  # pixels
KEYS = {"ArrowLeft": 37, "ArrowRight": 39}
HIGH = 20  # file descriptors from here on do not meet the 3 and 4 that Chromium reads and writes


class Browser:
    """One page at a time. `errors`: what its console reported. `requests`: every address that it asked for."""

    def __init__(self, profile: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        reads, writes = (fcntl.fcntl(end, fcntl.F_DUPFD, HIGH) for end in (theirs_in, theirs_out))
        options = "--headless --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-pipe"
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$0" {options} --user-data-dir="$1" 3<&{reads} 4>&{writes}',
                str(CHROMIUM),
                profile,
            ],
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs_in, theirs_out, reads, writes):
            os.close(end)
        self._in, self._out = ours_in, ours_out
        self._number, self._received = 0, b""
        self._session: str | None = None
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def open(
        self, page: Path, *, fragment: str = "", width: int = 1280, height: int = 900, dark: bool = False
    ) -> None:
        """Load a file, wait until it has loaded, and forget what was heard before."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("Page.navigate", url="about:blank")
        self.errors.clear()
        self.requests.clear()
        self._ask("Page.navigate", url=page.as_uri() + fragment)
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page; its promise is waited for."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description", script))
        return answer["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 30.0) -> None:
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < until, f"never true: {condition}"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """A key of the keyboard by its name in the DOM: ArrowRight."""
        for kind in ("rawKeyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def point_at(self, selector: str) -> None:
        """Move the mouse onto the middle of an element, which is scrolled into view."""
        x, y = self.evaluate(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)}); "
            "found.scrollIntoView({block: 'center'}); const box = found.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        self._ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, out: Path, *selectors: str) -> None:
        """Of the whole page, or of what holds some elements with a little around it, as PNG."""
        clip = {"clip": self._around(selectors)} if selectors else {}
        answer = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, **clip)
        out.write_bytes(base64.b64decode(answer["data"]))

    def _around(self, selectors: tuple[str, ...]) -> dict[str, float]:
        boxes = self.evaluate(
            f"{json.dumps(selectors)}.map((selector) => {{ const box = document.querySelector(selector)"
            ".getBoundingClientRect(); return [box.left + scrollX, box.top + scrollY, box.right + scrollX, "
            "box.bottom + scrollY]; })"
        )
        left, top = (min(box[at] for box in boxes) - MARGIN for at in (0, 1))
        right, bottom = (max(box[at] for box in boxes) + MARGIN for at in (2, 3))
        return {"x": left, "y": top, "width": right - left, "height": bottom - top, "scale": 1}

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]  # type: ignore[no-any-return]
            self._hear(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._in], [], [], 60)
            assert ready, "Chromium has not answered for a minute"
            received = os.read(self._in, 1 << 20)
            assert received, "Chromium has ended"
            self._received += received
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]

    def _hear(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(str(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.errors.append(str(parameters["args"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                self.errors.append(str(parameters["entry"]))
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
