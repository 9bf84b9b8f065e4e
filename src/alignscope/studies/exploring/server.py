"""The page of `alignscope explore` on the standard library's server (design/0011).

Who may ask: whoever has the token of the printed address, from a page of that address. A name that another site
makes point here (DNS rebinding) fails at the Host, another page's request (CSRF) at Origin and token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import ipaddress
import json
import logging
import re
import secrets
import socket
import socketserver
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar, final
from urllib.parse import parse_qs, urlsplit

from alignscope.errors import AlignscopeError, BadInput
from alignscope.files import as_row
from alignscope.records import PatchMap
from alignscope.reporting.captions import differences, shaded_caption
from alignscope.reporting.overlays import overlay, resized
from alignscope.reporting.page import render
from alignscope.reporting.pair import SIZE, UNITS
from alignscope.reporting.wording import kind_in_words
from alignscope.studies.exploring.explore import Explorer, Heard

MOST_UPLOADED = 16 * 2**20  # bytes
MOST_ASKED = 2**16  # bytes of a question
MOST_CHARACTERS = 2000  # of a caption
MOST_DRAINED = 4 * MOST_UPLOADED
WAITING = 8  # requests for the model at a time, the running one included
TOKEN = "X-Alignscope-Token"
_log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class _Refused(Exception):
    """A request that is not answered, with its HTTP status."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


@final
@dataclass(frozen=True)
class _Page:
    """What the template shows; the rest the page asks for."""

    models: tuple[str, ...]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server there.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("lab.example")
    (True, True, False, False)
    """
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


@final
class ExploreServer(ThreadingHTTPServer):
    """Listens until it is shut down; `address` has the token. Requests reach the models one at a time."""

    daemon_threads = True

    def __init__(self, explorer: Explorer, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.explorer = explorer
        self.host = host
        self.token = secrets.token_urlsafe(24)
        self.page = render("explore.html", _Page(explorer.names))
        self.policy = policy_of(self.page)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._waiting = threading.BoundedSemaphore(WAITING)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise BadInput(
                f"nothing can listen at {host}, port {port} ({error.strerror or error}): give another --port "
                "(0: any that is free) or --host"
            ) from error

    def server_bind(self) -> None:
        """As the base class, without its look-up of the host's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    @property
    def address(self) -> str:
        """What to open in a browser."""
        wildcards = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname(), "": socket.gethostname()}
        host = wildcards.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}/?token={self.token}"

    def is_own(self, host: str) -> bool:
        """Whether a Host header names this server; an address in digits cannot be pointed here by another site."""
        parts = urlsplit(f"//{host}")
        try:
            name, port = parts.hostname or "", parts.port or 80
        except ValueError:
            return False
        names = {"localhost", self.host.lower()} | (
            set() if is_loopback(self.host) else {socket.gethostname().lower()}
        )
        is_here = _is_address(name) and (not is_loopback(self.host) or is_loopback(name))
        return port == self.server_port and (name in names or is_here)

    def asked(self, question: Callable[[], Answer]) -> Answer:
        """The answer of the one thread that touches models."""
        if not self._waiting.acquire(blocking=False):
            raise _Refused(503, f"{WAITING} requests wait for the model: try again when they are done")
        try:
            return self._worker.submit(question).result()
        finally:
            self._waiting.release()

    def server_close(self) -> None:
        """Close the socket and let the models' thread end."""
        super().server_close()
        self._worker.shutdown(wait=False, cancel_futures=True)


def policy_of(page: str) -> str:
    """A content security policy under which exactly this page's own script and style work, and nothing from elsewhere."""
    allowed = {}
    for tag in ("script", "style"):
        digests = (
            hashlib.sha256(text.encode()).digest()
            for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        )
        allowed[tag] = " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests)
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@final
class _Handler(BaseHTTPRequestHandler):
    server: ExploreServer
    server_version, sys_version = "alignscope", ""
    timeout = 30

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def _answered(self, answer: Callable[[], None]) -> None:
        try:
            self._admit()
            answer()
        except _Refused as error:
            self._json(error.status, {"error": str(error)})
        except AlignscopeError as error:
            self._json(400, {"error": str(error)})
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the browser has gone
        except Exception as error:
            _log.exception("a request failed")
            self._json(500, {"error": f"{type(error).__name__}: {error}"})

    def _admit(self) -> None:
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if not self.server.is_own(host):
            raise _Refused(403, f"got the Host {host[:80]!r}: open the address that alignscope printed")
        if origin is not None and origin != f"http://{host}":
            raise _Refused(
                403, f"got a request of a page of {origin[:80]!r}, wanted one of this server's own"
            )
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise _Refused(403, "got a request of another site's page, wanted one of this server's own")
        given = self.headers.get(TOKEN) or self._query("token")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.server.token.encode()):
            raise _Refused(403, "got a wrong token or none: open the address that alignscope printed")

    def _query(self, name: str) -> str:
        return parse_qs(urlsplit(self.path).query).get(name, [""])[0]

    def _get(self) -> None:
        path = urlsplit(self.path).path
        if path == "/":
            self._send(200, "text/html; charset=utf-8", self.server.page.encode())
        elif path == "/image":
            image = resized(
                self.server.explorer.gallery.image(self._query("key")), _size(self._query("size"))
            )
            png = io.BytesIO()
            image.save(png, format="PNG")
            self._send(200, "image/png", png.getvalue())
        elif path == "/state":
            self._json(200, _state(self.server.explorer))
        else:
            raise _Refused(404, f"nothing is at {path[:80]!r}")

    def _post(self) -> None:
        explorer, path = self.server.explorer, urlsplit(self.path).path
        if path not in ("/upload", "/explore", "/swaps"):
            raise _Refused(404, f"nothing is at {path[:80]!r}")
        if path == "/upload":
            content = self._body(MOST_UPLOADED)
            self._json(200, {"key": self.server.asked(lambda: explorer.gallery.upload(content))})
            return
        asked = _asked(self._body(MOST_ASKED))
        question = _explored if path == "/explore" else _swapped
        self._json(200, self.server.asked(lambda: question(explorer, asked)))

    def _body(self, most: int) -> bytes:
        told = self.headers.get("Content-Length", "")
        if not (told.isascii() and told.isdecimal()):
            raise _Refused(411, "wanted a Content-Length in bytes")
        length = int(told)
        if length > most:
            left = min(length, MOST_DRAINED)  # a browser hears the answer only after it has sent all
            while left > 0 and (part := self.rfile.read(min(left, 2**16))):
                left -= len(part)
            raise _Refused(413, f"got {length:,} bytes, wanted at most {most:,}: make it smaller")
        content = self.rfile.read(length)
        if len(content) < length:
            raise _Refused(400, f"got {len(content):,} of {length:,} bytes: send it again")
        return content

    def _json(self, status: int, answer: dict[str, Any]) -> None:
        text = json.dumps(answer, allow_nan=False).replace("<", "\\u003c")  # no tag, whoever reads it as HTML
        self._send(status, "application/json", text.encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        try:
            self.send_response(status)
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(content))),
                ("Content-Security-Policy", self.server.policy),
                ("X-Content-Type-Options", "nosniff"),
                ("X-Frame-Options", "DENY"),
                ("Cross-Origin-Resource-Policy", "same-origin"),
                ("Cross-Origin-Opener-Policy", "same-origin"),
                ("Referrer-Policy", "no-referrer"),
                ("Cache-Control", "no-store"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except ConnectionError:
            self.close_connection = True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses (another verb, a broken request), as JSON like all else."""
        self._json(code, {"error": message or "refused"})

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: addresses have the token."""


@final
@dataclass(frozen=True)
class _Asked:
    image: str
    caption: str
    method: str
    map: str


def _asked(body: bytes) -> _Asked:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"got a question that is no JSON ({type(error).__name__})") from None
    names = tuple(_Asked.__annotations__)
    if not isinstance(told, dict) or not all(isinstance(told.get(name), str) for name in names):
        raise BadInput(f"got a question without texts for {', '.join(names)}")
    asked = _Asked(**{name: told[name] for name in names})
    if not asked.caption.strip():
        raise BadInput("got no caption: type what to say of the image")
    if len(asked.caption) > MOST_CHARACTERS:
        raise BadInput(
            f"got a caption of {len(asked.caption):,} characters, wanted at most {MOST_CHARACTERS:,}"
        )
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in asked.image + asked.caption):
        raise BadInput("got half of a surrogate pair, wanted Unicode text")
    return asked


def _size(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= SIZE):
        raise BadInput(f"got the size {text[:20]!r}, wanted pixels from 1 to {SIZE}")
    return int(text)


def _state(explorer: Explorer) -> dict[str, Any]:
    """What there is to choose from."""
    units = [UNITS.get(model.traits.score, model.traits.score) for model in explorer.models]
    return {
        "models": [{"name": name, "unit": unit} for name, unit in zip(explorer.names, units, strict=True)],
        "methods": explorer.methods,
        "image_methods": explorer.image_methods,
        "images": [{"key": key, "caption": text} for key, text in explorer.gallery.captions.items()],
        "problems": [as_row(one) for one in explorer.gallery.problems],
        "most_uploaded": MOST_UPLOADED,
    }


def _explored(explorer: Explorer, asked: _Asked) -> dict[str, Any]:
    found = explorer.heard(asked.image, asked.caption, method=asked.method, map_method=asked.map)
    return {"models": [_told(explorer, one, asked.caption) for one in found]}


def _told(explorer: Explorer, heard: Heard, caption: str) -> dict[str, Any]:
    pieces = shaded_caption(heard.words, caption).pieces if heard.words else ()
    return {
        **as_row(heard),
        "unit": UNITS.get(heard.unit, heard.unit),
        "pieces": [as_row(piece) for piece in pieces],
        "picture": None if heard.patches is None else _drawn(explorer, heard.patches),
    }


def _drawn(explorer: Explorer, patches: PatchMap) -> str:
    return f"data:image/png;base64,{overlay(explorer.gallery.image(patches.image), patches, size=SIZE)}"


def _swapped(explorer: Explorer, asked: _Asked) -> dict[str, Any]:
    found = explorer.swaps(asked.image, asked.caption)
    rows = []
    for swap in found.swaps:
        _, parts = differences(asked.caption, swap.text)
        rows.append(
            as_row(swap) | {"kind": kind_in_words(swap.kind), "parts": [as_row(one) for one in parts]}
        )
    return as_row(found) | {"swaps": rows}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
