"""Checks of URLs: with the standard library and with the clients of httpx2 and httpx, against real sockets."""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from seawall import CircuitBreaker, Pipeline, Timeout
from seawall.health import Check, Entry, url_check
from seawall.health.status import Health
from seawall.integrations.httpx import protect
from tests.health.monitors import NUMBERS, monitor, until
from tests.health.stand_in import StandIn, drain, free_port, hold, reset

CLIENTS = [None, httpx2.Client, httpx2.AsyncClient, httpx.Client, httpx.AsyncClient]


class Site:
    """A site that answers by path, and keeps the heads of the requests."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.answers: dict[str, bytes] = {}

    def answer(self, path: str, status: int, *headers: str) -> None:
        """Sets what is answered for a path."""
        lines = [f"HTTP/1.1 {status} Some", "Content-Length: 2", *headers, "", "ok"]
        self.answers[path] = "\r\n".join(lines).encode()

    def __call__(self, connection: socket.socket) -> None:
        """Serves one connection."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(4096)
            if not more:
                return
            head += more
        self.heads.append(head.decode())
        connection.sendall(self.answers.get(head.split()[1].decode(), b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"))


@pytest.fixture
def site() -> Iterator[Site]:
    """A site that listens."""
    site = Site()
    with StandIn(site) as server:
        site.port = server.port  # type: ignore[attr-defined]
        site.url = f"http://127.0.0.1:{server.port}"  # type: ignore[attr-defined]
        yield site


def found(make: Any, client: Any = None) -> Entry:
    """Returns the entry of a check after one run; the client is made in the loop and closed again."""

    async def run() -> Entry:
        own = None if client is None else client()
        try:
            async with monitor(make(own)) as watching:
                return (await watching.arefresh()).checks[0]
        finally:
            if hasattr(own, "aclose"):
                await own.aclose()
            elif own is not None:
                own.close()

    return asyncio.run(run())


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("status", "options", "expected"),
    [
        (200, {}, "healthy"),
        (204, {}, "healthy"),
        (500, {}, "unhealthy"),
        (404, {}, "unhealthy"),
        (304, {}, "unhealthy"),
        (404, {"statuses": [404]}, "healthy"),
        (200, {"statuses": [404]}, "unhealthy"),
        (503, {"failure_status": "degraded"}, "degraded"),
    ],
)
def test_the_status_decides(site: Any, client: Any, status: int, options: Any, expected: str) -> None:
    """What is in `statuses` is healthy, everything else a failure; the status is shown."""
    site.answer("/health?full=1", status)
    entry = found(lambda own: url_check(f"{site.url}/health?full=1", client=own, **options), client)

    assert (expected, {"httpStatus": status}, f"answered {status}") == (entry.status, entry.data, entry.description)


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_sent(site: Any, client: Any) -> None:
    """One request with the path, the method and the headers asked for, and a Host."""
    site.answer("/", 200)
    headers = {"Authorization": "Bearer SECRET"}
    entry = found(lambda own: url_check(site.url, name="x", method="HEAD", headers=headers, client=own), client)
    head = site.heads[0].lower()

    assert ("healthy", 1) == (entry.status, len(site.heads))
    assert head.startswith("head / http/1.1\r\n")
    assert f"\r\nhost: 127.0.0.1:{site.port}\r\n" in head
    assert "\r\nauthorization: bearer secret\r\n" in head
    assert "SECRET" not in repr(entry)


@pytest.mark.parametrize("client", CLIENTS)
def test_redirects_stay_on_the_host(site: Any, client: Any) -> None:
    """Those to the same host are followed, up to three; one to another host, or in a circle, is a failure."""
    site.answer("/a", 302, "Location: /b#part")
    site.answer("/b", 307, f"location: {site.url}/c")
    site.answer("/c", 301, "Location:d")
    site.answer("/d", 200)
    site.answer("/circle", 302, "Location: /circle")
    site.answer("/away", 302, "Location: http://localhost:1/metadata")
    site.answer("/file", 302, "Location: file:///etc/passwd")
    site.answer("/nowhere", 302)

    def description(path: str) -> str:
        return found(lambda own: url_check(f"{site.url}{path}", client=own), client).description

    assert "answered 200" == description("/a")
    assert "answered 302, one redirect too many" == description("/circle")
    assert "answered 302, which leads to another host: localhost" == description("/away")
    assert "answered 302, which leads to another host: None" == description("/file")
    assert "answered 302" == description("/nowhere")


@pytest.mark.parametrize("client", CLIENTS[:3])
@pytest.mark.parametrize("handle", [hold, reset])
def test_a_server_that_does_not_answer_and_comes_back(client: Any, handle: Any) -> None:
    """Silent, or one that resets: a failure within the time-out; when it answers again, so does the check."""

    async def run() -> None:
        own = None if client is None else client()
        site = Site()
        site.answer("/", 200)
        with StandIn(handle) as server:
            check = url_check(f"http://127.0.0.1:{server.port}", timeout=0.1, client=own)
            async with monitor(check, period=0.05) as watching:
                began = time.monotonic()
                await until(lambda: watching.report().checks[0].bad_in_a_row >= 2)
                assert time.monotonic() - began < 2.0
                server.handle = site
                server.cut()
                await until(lambda: watching.report().status == "healthy")
                server.refuse()
                await until(lambda: watching.report().status == "unhealthy")
                server.listen()
                await until(lambda: watching.report().status == "healthy")
        if hasattr(own, "aclose"):
            await own.aclose()
        elif own is not None:
            own.close()

    asyncio.run(run())


def test_a_server_that_drips_holds_no_thread() -> None:
    """A byte at a time keeps every read short of its own limit, and the whole is bounded all the same."""

    def drip(connection: socket.socket) -> None:
        while not stop.wait(0.02):
            connection.sendall(b"H")

    async def run() -> None:
        with StandIn(drip) as server:
            async with monitor(url_check(f"http://127.0.0.1:{server.port}", timeout=0.2), period=60.0) as watching:
                entry = (await watching.arefresh()).checks[0]
                assert "unhealthy" == entry.status
                await until(lambda: watching.report().checks[0].running_since is None)
                stop.set()

    stop = threading.Event()
    asyncio.run(run())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"", "ConnectionError: the connection was closed without an answer"),
        (b"HTTP/1.1 20", "ConnectionError: the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "ConnectionError: the answer is no HTTP/1"),
        (b"HTTP/1.1 999 Odd\r\n\r\n", "ConnectionError: the answer is no HTTP/1"),
        (b"HTTP/1.1 \xb2\xb2\xb2 Odd\r\n\r\n", "ConnectionError: the answer is no HTTP/1"),
        (b"HTTP/2 200\r\n\r\n", "ConnectionError: the answer is no HTTP/1"),
        (b"X" * 70_000, "ConnectionError: the answer begins with too many headers"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "answered 200"),
        (b"HTTP/1.0 200\n\n", "answered 200"),
        (b"HTTP/1.1 302 X\r\nLocation: /\r\nLocation: http://evil.example/\r\n\r\n", "answered 302, one redirect too many"),  # noqa: E501
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n", "ValueError: Invalid IPv6 URL"),
    ],
)  # fmt: skip
def test_strange_answers(said: bytes, expected: str) -> None:
    """Whatever a server says, the check understands it or says what was wrong."""

    def speak(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        drain(connection)

    with StandIn(speak) as server:
        assert expected == found(lambda own: url_check(f"http://127.0.0.1:{server.port}/")).description


def test_a_host_that_does_not_exist() -> None:
    """A name without an address is a failure like others, and so is a refused connection."""
    assert "gaierror" in found(lambda own: url_check("http://nowhere.invalid/", timeout=30)).description
    refused = found(lambda own: url_check(f"http://127.0.0.1:{free_port()}/"))
    assert ("unhealthy", True) == (refused.status, "ConnectionRefusedError" in refused.description)


def test_each_address_of_a_host_is_tried(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is silent does not take the time of those after it."""
    with StandIn(hold) as silent:
        silent.refuse()
        full = socket.create_server(("127.0.0.1", silent.port), backlog=0)
        waiting = [socket.socket() for _ in range(8)]
        for each in waiting:  # a backlog that is full drops who connects
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", silent.port))
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (silent.port, site.port)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: addresses)
        site.answer("/", 200)
        try:
            assert "answered 200" == found(lambda own: url_check("http://two.example/", timeout=1.0)).description
        finally:
            for each in (full, *waiting):
                each.close()


def test_https_is_verified(tmp_path: Path) -> None:
    """A certificate that nobody vouches for is a failure; with a context that does it is healthy."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl to make a certificate with")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    site = Site()
    site.answer("/", 200)
    site.answer("/down", 302, "Location: http://127.0.0.1/")

    def serve(connection: socket.socket) -> None:
        with theirs.wrap_socket(connection, server_side=True) as secure:
            site(secure)

    ours = ssl.create_default_context(cafile=str(certificate))
    with StandIn(serve) as server:
        url = f"https://127.0.0.1:{server.port}/"
        assert "CERTIFICATE_VERIFY_FAILED" in found(lambda own: url_check(url)).description
        assert "answered 200" == found(lambda own: url_check(url, tls=ours)).description
        assert "answered 302, which leads from https to http" == found(lambda own: url_check(f"{url}down", tls=ours)).description  # fmt: skip  # noqa: E501
    with pytest.raises(ValueError, match="tls has no effect with client"):
        url_check("https://h/", tls=ours, client=httpx2.Client)


def test_a_protected_client_tells_of_its_breaker(site: Any) -> None:
    """Through a client with a breaker that is open the check fails without asking the server."""
    site.answer("/", 500)
    pipeline = Pipeline(f"partner {next(NUMBERS)}", CircuitBreaker(failures=1), Timeout(5.0))

    async def run() -> list[str]:
        async with httpx2.AsyncClient() as client:
            check = url_check(site.url, client=protect(client, pipeline))
            assert isinstance(check, Check)
            seen = []
            for _ in range(2):
                result: Any = None
                try:
                    result = await check.look()  # type: ignore[misc]
                except httpx2.TransportError as error:
                    seen.append(str(error))
                else:
                    assert isinstance(result, Health)
                    seen.append(result.description)
            return seen

    first, second = asyncio.run(run())

    assert ("answered 500", True, 1) == (first, "is open" in second, len(site.heads))


def test_the_default_name_and_time() -> None:
    """It is called after its host, and takes five seconds."""
    check = url_check("https://api.example.com/health", tags=["external"])

    assert ("api.example.com", 5.0, {"external"}) == (check.name, check.timeout, check.tags)
