"""What comes back is what the server sent, in every form."""

import gzip
import zlib

import pytest

from tests.integrations.httpx.driver import Wire, retry
from tests.integrations.httpx.server import answer, chunked

TEXT = "\n".join(f"line {number}: Grüße" for number in range(500)).encode()
BIG = bytes(range(256)) * 4 * 5 * 1024  # 5 MB
CODED = {"gzip": gzip.compress(TEXT), "deflate": zlib.compress(TEXT), "identity": TEXT}


@pytest.mark.parametrize("coding", CODED)
def test_compressed_bodies(wire: Wire, coding: str) -> None:
    """Decoded once, whether whole or in pieces; as they came for who wants them raw."""
    wire.server.play("/", answer(503, b"no"), answer(200, CODED[coding], {"Content-Encoding": coding}))
    client = wire.client(retry(2))
    response = client.get("/")
    assert TEXT == response.content
    assert (coding, str(len(CODED[coding]))) == (
        response.headers["Content-Encoding"],
        response.headers["Content-Length"],
    )
    with client.stream("GET", "/") as streamed:
        assert TEXT == b"".join(streamed.chunks())
    with client.stream("GET", "/") as streamed:
        assert CODED[coding] == b"".join(streamed.raw())
    with client.stream("GET", "/") as streamed:
        assert TEXT.decode().split("\n") == list(streamed.lines())


def test_a_compressed_failing_response(wire: Wire) -> None:
    """Readable too, whole and streamed."""
    wire.server.play("/", answer(500, CODED["gzip"], {"Content-Encoding": "gzip"}))
    client = wire.client(retry(2))
    assert TEXT == client.get("/").content
    with client.stream("GET", "/") as streamed:
        assert TEXT == streamed.read()


def test_a_body_that_cannot_be_decoded(wire: Wire) -> None:
    """The client's own DecodingError; the connection is free."""
    wire.server.play("/", answer(200, b"no gzip at all", {"Content-Encoding": "gzip"}))
    client = wire.client(retry(2))
    with pytest.raises(wire.lib.DecodingError):
        client.get("/")
    with client.stream("GET", "/") as streamed, pytest.raises(wire.lib.DecodingError):
        streamed.read()
    assert 0 == client.busy()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("method", "status", "body"), [("HEAD", 200, b"unsent"), ("GET", 204, b""), ("GET", 304, b""), ("GET", 200, b"")]
)
def test_answers_without_a_body(wire: Wire, method: str, status: int, body: bytes, stream: bool) -> None:
    """HEAD, 204, 304 and an empty 200: the connection is free at once."""
    wire.server.play("/", answer(503, body), answer(status, body))
    client = wire.client(retry(2))
    if stream:
        with client.stream(method, "/") as response:
            assert (status, b"") == (response.status_code, response.read())
    else:
        plain = client.request(method, "/")
        assert (status, b"") == (plain.status_code, plain.content)
        if method == "HEAD":
            assert "6" == plain.headers["Content-Length"]
    assert (2, 0) == (wire.server.hits(), client.busy())
    wire.server.until_open(1)


def test_big_bodies(wire: Wire) -> None:
    """5 MB, whole, streamed and chunked."""
    wire.server.play("/", answer(200, BIG))
    client = wire.client(retry(2))
    assert BIG == client.get("/").content
    with client.stream("GET", "/") as response:
        assert BIG == b"".join(response.chunks())
    wire.server.play("/", chunked(BIG[:1_000_000], BIG[1_000_000:]))
    assert BIG == client.get("/").content
    assert 0 == client.busy()


def test_text_json_and_encodings(wire: Wire) -> None:
    """The response is the library's own, with all that it can do."""
    wire.server.play("/json", answer(200, b'{"a": [1, 2]}', {"Content-Type": "application/json"}))
    wire.server.play("/latin", answer(200, b"Gr\xfc\xdfe", {"Content-Type": "text/plain; charset=latin-1"}))
    client = wire.client(retry(2))
    assert {"a": [1, 2]} == client.get("/json").json()
    latin = client.get("/latin")
    assert ("Grüße", "latin-1") == (latin.text, latin.encoding)
    assert wire.lib.Response is type(latin)


def test_a_response_can_be_pickled(wire: Wire) -> None:
    """As without protection."""
    import pickle

    response = pickle.loads(pickle.dumps(wire.client(retry(2)).get("/")))
    assert (200, b"fine") == (response.status_code, response.content)


def test_headers_given_twice(wire: Wire) -> None:
    """Stay two."""
    wire.server.play("/", answer(headers=[("X-A", "1"), ("X-A", "2"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]))
    client = wire.client(retry(2))
    assert ["1", "2"] == client.get("/").headers.get_list("X-A")
    assert {"a": "1", "b": "2"} == dict(client.own.cookies)
