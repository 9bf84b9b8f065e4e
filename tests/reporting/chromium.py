"""Chromium without a window, for tests of pages: driven by clicks and keys as a person drives it.

`axe` is axe-core (Deque, MPL 2.0, https://github.com/dequelabs/axe-core), fetched by npm once into pytest's
cache; it is part of tests alone.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import select
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--hide-scrollbars",
)
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowRight": 39, "ArrowDown": 40}
AXE = ("4.14.1", "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c")  # version, SHA-256
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def binary() -> str:
    """Chromium's program; skips the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium on this machine")
    return found


class Tab:
    """A page driven as a person drives it, over the DevTools protocol on two pipes (which need no library).

    `requests` has every address asked for since `open`, `complaints` what the page threw or its policy refused.
    """

    def __init__(self, program: str, profile: Path) -> None:
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        words = [program, *QUIET, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        shell = f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}'  # the protocol is spoken on 3 and 4
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *words],
            pass_fds=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs_in, theirs_out, *theirs):
            os.close(end)
        self._in, self._out, self._left, self._count = ours_in, ours_out, b"", 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.told("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.told("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.told(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        os.close(self._out)
        os.close(self._in)
        self._process.kill()
        self._process.wait(30)

    def told(self, method: str, **given: Any) -> dict[str, Any]:
        """The protocol's answer to one command; events on the way are kept."""
        self._count += 1
        sent = {"id": self._count, "method": method, "params": given}
        os.write(
            self._out,
            json.dumps(sent | ({"sessionId": self._session} if self._session else {})).encode() + b"\0",
        )
        while True:
            message = self._message()
            if message.get("id") == self._count:
                assert "error" not in message, (method, given, message["error"])
                return message["result"]
            self._keep(message)

    def open(self, address: str, *, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Load a page in a window of this size, under this colour scheme."""
        self.requests, self.complaints = [], []
        self.show(width=width, height=height, scheme=scheme)
        self.told("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def show(self, *, width: int = 1200, height: int = 900, scheme: str = "light", media: str = "") -> None:
        """The window's size, its colour scheme, and the medium ("print") it is laid out for."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.told("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.told("Emulation.setEmulatedMedia", media=media, features=features)

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript (or its promise) gives in the page."""
        found = self.told("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, (expression[:200], found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, expression: str, *, seconds: float = 30) -> Any:
        """The expression's value once it is true."""
        until = time.monotonic() + seconds
        while not (found := self.value(expression)):
            assert time.monotonic() < until, (
                f"never true: {expression}\n{self.value('document.body.innerText')[:2000]}"
            )
            time.sleep(0.02)
        return found

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element, which nothing may cover."""
        place = self.value(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); one.scrollIntoView({{block: 'center'}});"
            "const box = one.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;"
            "const top = document.elementFromPoint(x, y);"
            "return {x, y, hit: one.contains(top) || (top?.labels && [...top.labels].some((l) => one.contains(l)))}; })()"
        )
        assert place["hit"], f"something lies over {selector}, or it is not shown"
        for kind in ("mousePressed", "mouseReleased"):
            at = {"x": place["x"], "y": place["y"], "button": "left", "clickCount": 1}
            self.told("Input.dispatchMouseEvent", type=kind, **at)

    def press(self, key: str, *, times: int = 1, shift: bool = False) -> None:
        """Press a key of `KEYS`."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        how = {"key": key, "code": "Space" if key == " " else key, "modifiers": 8 * shift}
        for _ in range(times):
            down = {**how, "windowsVirtualKeyCode": KEYS[key], "text": text}
            self.told("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **down)
            self.told("Input.dispatchKeyEvent", type="keyUp", **how)

    def type(self, text: str) -> None:
        """Replace the text of what has the focus."""
        self.value("document.activeElement.select()")
        self.told("Input.insertText", text=text)

    def choose_file(self, selector: str, path: Path) -> None:
        """What the file dialogue does."""
        found = self.told("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.told("DOM.setFileInputFiles", files=[str(path)], objectId=found["result"]["objectId"])

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        found = self.told("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def violations(self, axe: str, rules: tuple[str, ...] = RULES) -> list[list[str]]:
        """What axe finds in the page as it stands: rule, element, why."""
        self.value(f"if (typeof axe === 'undefined') {{ {axe}\n }}")
        return self.value(
            f"axe.run(document, {{runOnly: {json.dumps(rules)}}}).then((told) => told.violations.flatMap((one) =>"
            "one.nodes.map((node) => [one.id, node.target.join(' '), node.failureSummary])))"
        )

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._in], [], [], 60)
            assert ready, "the browser does not answer"
            part = os.read(self._in, 2**20)
            assert part, "the browser has ended"
            self._left += part
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def _keep(self, message: dict[str, Any]) -> None:
        given = message.get("params", {})
        if message["method"] == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        elif message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(given["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded" and given["entry"]["source"] == "security":
            self.complaints.append(given["entry"]["text"])


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """One driven browser for a file of tests; each opens its page anew."""
    driven = Tab(binary(), tmp_path_factory.mktemp("profile"))
    yield driven
    driven.close()


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The script of axe-core, whole as its authors published it."""
    version, sha = AXE
    folder = Path(request.config.cache.mkdir("axe-core"))  # type: ignore[union-attr]
    kept = folder / f"axe-{version}.min.js"
    if not kept.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no npm on this machine, which fetches axe-core")
        try:
            command = [npm, "pack", f"axe-core@{version}", "--silent", "--pack-destination", str(folder)]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"axe-core cannot be fetched: {error}")
        with tarfile.open(folder / f"axe-core-{version}.tgz") as packed:
            member = packed.extractfile("package/axe.min.js")
            assert member is not None
            kept.write_bytes(member.read())
    text = kept.read_bytes()
    assert hashlib.sha256(text).hexdigest() == sha, f"{kept} is not axe-core {version}: delete it"
    return text.decode()
