"""The page's server: its answers are the explorer's; whoever is no page of its own is refused."""

import base64
import hashlib
import http.client
import io
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

import alignscope
from alignscope.errors import BadInput
from alignscope.studies.auditing.inspection import LEAVING_OUT
from alignscope.studies.exploring import server as explore_server
from alignscope.studies.exploring.explore import Explorer
from alignscope.studies.exploring.gallery import world_gallery
from alignscope.studies.exploring.server import ExploreServer

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)> a red dog'


@pytest.fixture(scope="module")
def server():
    with ExploreServer(Explorer([alignscope.model("tiny-clip")], world_gallery(2))) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def asked(
    server: ExploreServer, path: str, body: bytes | None = None, *, verb: str = "", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and content; underscores of header names are hyphens, an empty value leaves one out."""
    given = {"X-Alignscope-Token": server.token, **{name.replace("_", "-"): v for name, v in headers.items()}}
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    try:
        connection.putrequest(verb or ("GET" if body is None else "POST"), path, skip_host="Host" in given)
        if body is not None and "Content-Length" not in given:
            given["Content-Length"] = str(len(body))
        for name, value in given.items():
            if value:
                connection.putheader(name, value)
        connection.endheaders(body)
        found = connection.getresponse()
        return found.status, found.headers, found.read()
    finally:
        connection.close()


def told(
    server: ExploreServer, path: str, question: Any = None, **headers: str
) -> tuple[int, dict[str, Any]]:
    body = None if question is None else json.dumps(question).encode()
    status, found, content = asked(server, path, body, **headers)
    assert found["Content-Type"] == "application/json"
    return status, json.loads(content)


def question(server: ExploreServer, **changed: Any) -> dict[str, Any]:
    key, text = next(iter(server.explorer.gallery.captions.items()))
    return {"image": key, "caption": text, "method": "gradcam", "map": "attention", **changed}


def test_the_page_hears_what_the_package_says(server):
    status, found = told(server, "/explore", question(server))
    assert status == 200
    [one] = found["models"]
    world = alignscope.World("test", size=1)
    key, text = world.items[0].image, world.items[0].caption.text
    assert one["score"] == alignscope.model("tiny-clip").score([world.image(key)], [text]).item()
    [attributed] = alignscope.attribute("tiny-clip", world, method="gradcam", options=LEAVING_OUT)
    assert [w["heat"] for w in one["words"]] == pytest.approx([w.heat for w in attributed.words], abs=1e-6)
    assert "".join(piece["text"] for piece in one["pieces"]) == text
    assert max(piece["shade"] for piece in one["pieces"]) == 1
    kind, _, png = one["picture"].partition(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(png))).size == (384, 384)


def test_what_there_is_to_choose_from(server):
    status, found = told(server, "/state")
    assert status == 200
    assert found["models"] == [{"name": "tiny-clip", "unit": "scale x cosine + bias"}]
    assert found["methods"] == ["attention", "gradcam", "gradient", "perturbation"]
    assert {one["key"]: one["caption"] for one in found["images"]} == server.explorer.gallery.captions
    status, headers, png = asked(server, f"/image?size=128&key={found['images'][0]['key']}")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(png)).size == (128, 128)


def test_swaps_as_the_page_shows_them(server):
    status, found = told(server, "/swaps", question(server))
    assert status == 200
    assert found["is_true"] is True
    kinds = {one["kind"] for one in found["swaps"]}
    assert {"wrong objects", "wrong attributes", "wrong relations"} <= kinds
    for one in found["swaps"]:
        assert "".join(part["text"] for part in one["parts"]) == one["text"]
        assert len(one["scores"]) == len(found["scores"]) == 1


def test_an_upload_is_scored(server):
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "green").save(file, format="JPEG")
    status, _, content = asked(server, "/upload", file.getvalue())
    assert status == 200
    key = json.loads(content)["key"]
    status, found = told(server, "/explore", question(server, image=key, caption="a green box"))
    assert status == 200
    shown = server.explorer.gallery.image(key)
    assert found["models"][0]["score"] == alignscope.model("tiny-clip").score([shown], ["a green box"]).item()
    for refused in (b"no image", b"", b"GIF89a" + b"\0" * 40):
        status, _, content = asked(server, "/upload", refused)
        assert status == 400
        assert "wanted" in json.loads(content)["error"]


def test_texts_come_back_as_text(server):
    for path in ("/explore", "/swaps"):
        status, headers, content = asked(server, path, json.dumps(question(server, caption=HOSTILE)).encode())
        assert status == 200
        assert b"<" not in content
        assert headers["X-Content-Type-Options"] == "nosniff"
        found = json.loads(content)
        shown = found["models"][0]["problems"] if path == "/explore" else found["swaps"]
        assert any("<img src=x onerror=alert(1)>" in json.dumps(one) for one in shown)
    status, found = told(server, "/explore", question(server, image=HOSTILE))
    assert status == 400
    assert HOSTILE[:20] in found["error"]
    assert b"<" not in asked(server, f"/{quote(HOSTILE)}")[2]


def test_the_page_brings_all_that_it_needs(server):
    status, headers, page = asked(server, "/")
    assert status == 200
    html = page.decode()
    assert not re.findall(r"(?:https?:)?//[\w.]+\.\w", html)
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    for tag in ("script", "style"):
        [inside] = re.findall(f"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", html)


@pytest.mark.parametrize("path", ["/", "/state", "/image?size=64&key=test-0-000000", "/explore", "/upload"])
def test_whoever_is_no_page_of_its_own_is_refused(server, path):
    body = json.dumps(question(server)).encode() if path in ("/explore", "/upload") else None
    own = f"127.0.0.1:{server.server_port}"
    wrong: list[dict[str, str]] = [
        {"X_Alignscope_Token": ""},
        {"X_Alignscope_Token": server.token[:-1]},
        {"X_Alignscope_Token": "tökén"},
        {"Host": f"rebound.example:{server.server_port}"},
        {"Host": f"192.168.1.2:{server.server_port}"},
        {"Host": f"127.0.0.1:{server.server_port + 1}"},
        {"Host": "127.0.0.1:x"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://localhost:{server.server_port}", "Host": own},
        {"Origin": f"https://{own}"},
        {"Sec_Fetch_Site": "cross-site"},
    ]
    for headers in wrong:
        status, found, content = asked(server, path, body, **headers)
        assert (status, found["Content-Type"]) == (403, "application/json"), headers
        assert json.loads(content)["error"]


def test_pages_of_its_own_are_let_in(server):
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        own = f"{host}:{server.server_port}"
        assert (
            asked(server, "/state", Host=own, Origin=f"http://{own}", Sec_Fetch_Site="same-origin")[0] == 200
        )
    assert asked(server, f"/?token={server.token}", X_Alignscope_Token="")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/image?size=64&key=../../../etc/passwd",
        "/image?size=64&key=/etc/passwd",
        "/image?size=64&key=%2e%2e%2fsecret",
        "/image?size=64&key=%00",
        "/image?size=99999&key=test-0-000000",
        "/image",
        "/explore.html",
        "//evil.example/state",
        "/image?size=%C2%B2&key=test-0-000000",
    ],
)
def test_no_other_file_is_read(server, path):
    status, found = told(server, path)
    assert status in (400, 404)
    assert "root:" not in found["error"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"no json", "no JSON"),
        (b"[" * 60_000, "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "without texts"),
        (b'{"image": 1}', "without texts"),
        (json.dumps({"image": "a", "caption": " ", "method": "", "map": ""}).encode(), "got no caption"),
        (json.dumps({"image": "a", "caption": "a" * 2001, "method": "", "map": ""}).encode(), "2,001 char"),
        (json.dumps({"image": "a", "caption": "\ud83d", "method": "", "map": ""}).encode(), "surrogate"),
        (json.dumps({"image": "a", "caption": "b", "method": "gradcm", "map": ""}).encode(), "gradcm"),
    ],
)
def test_wrong_questions_are_answered_with_what_is_wrong(server, body, says):
    status, _, content = asked(server, "/explore", body)
    assert status == 400
    assert says in json.loads(content)["error"]


def test_too_much_is_not_read(server, monkeypatch):
    status, _, content = asked(server, "/explore", b"x" * (2**16 + 1))
    assert status == 413
    assert "wanted at most 65,536" in json.loads(content)["error"]
    status, _, content = asked(server, "/upload", b"x" * (16 * 2**20 + 1))
    assert status == 413
    for told_length in ("-1", "x", "²", ""):
        assert asked(server, "/upload", verb="POST", Content_Length=told_length)[0] == 411
    assert asked(server, "/upload", verb="POST", Transfer_Encoding="chunked")[0] == 411
    assert asked(server, "/state", verb="PUT")[0] == 501
    monkeypatch.setattr(explore_server._Handler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\n")  # and then nothing: it is hung up on
        assert silent.recv(100) == b""


def test_one_request_at_a_time_reaches_the_models(server, monkeypatch):
    running, most = 0, 0

    def slow(key, text):
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.1)
        running -= 1
        raise BadInput("done")

    monkeypatch.setattr(server.explorer, "swaps", slow)
    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda _: told(server, "/swaps", question(server)), range(12)))
    assert most == 1
    assert {status for status, _ in found} == {400, 503}
    assert sum(status == 503 for status, _ in found) <= 4


def test_a_fault_of_ours_is_an_answer_too(server, monkeypatch, caplog):
    def broken(*given, **named):
        raise RuntimeError("a bug")

    monkeypatch.setattr(server.explorer, "heard", broken)
    status, found = told(server, "/explore", question(server))
    assert (status, found) == (500, {"error": "RuntimeError: a bug"})
    assert "Traceback" in caplog.text
    assert told(server, "/state")[0] == 200


def test_a_place_that_is_taken(server):
    with pytest.raises(BadInput, match="give another --port"):
        ExploreServer(server.explorer, port=server.server_port)


def test_a_server_for_other_machines_knows_its_names(server):
    with ExploreServer(server.explorer, host="0.0.0.0") as wide:
        port, own = wide.server_port, socket.gethostname()
        assert wide.address.startswith(f"http://{own}:{port}/?token=")
        assert wide.token != server.token
        for name in (own, own.upper(), "192.168.1.2", "localhost", "[fe80::1]"):
            assert wide.is_own(f"{name}:{port}")
        for name in ("rebound.example", f"{own}.example", "192.168.1.2.example", ""):
            assert not wide.is_own(f"{name}:{port}")
        assert not wide.is_own(own)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
def test_the_page_in_a_browser(server, tmp_path):
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    words += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    words += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=6000", "--dump-dom"]
    words += [f"{server.address}&method=gradient&swaps=1&caption={quote(HOSTILE)}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    score = alignscope.model("tiny-clip").score(
        [server.explorer.gallery.image(question(server)["image"])], [HOSTILE]
    )
    shown = f"{score.item():.2f}".replace("-", "−")
    assert f'<span class="score">{shown}</span>' in done.stdout
    assert "&lt;script&gt;alert" in done.stdout
    assert "<script>alert" not in done.stdout
    assert "onerror=alert(1)&gt;" in done.stdout
    assert "another attribute" in done.stdout
    assert re.search(r'role="status">\d+ swaps scored<', done.stdout)
