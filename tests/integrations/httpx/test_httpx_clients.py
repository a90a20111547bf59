"""What a client does besides: redirects, hooks, auth, base URL, cookies, mounts, closing."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from seawall.integrations.httpx import protect
from tests.integrations.httpx.driver import Wire, counted, counter, retry, unbounded
from tests.integrations.httpx.server import answer, half, redirect


def hook(wire: Wire, fn: Callable[[Any], object]) -> Any:
    """Returns a function as a hook of the wire's colour."""

    async def ahook(subject: Any) -> None:
        fn(subject)

    return fn if wire.sync else ahook


def test_redirects_are_followed(wire: Wire) -> None:
    """Each hop is a call of its own, retried on its own."""
    wire.server.play("/start", answer(503), redirect("/next"))
    wire.server.play("/next", answer(503), answer(200, b"there"))
    breaker = counter()
    response = wire.client(retry(2), breaker, follow_redirects=True).get("/start")
    assert (200, b"there", ["/start"]) == (
        response.status_code,
        response.content,
        [each.request.url.path for each in response.history],
    )
    assert (2, 2, (4, 2)) == (wire.server.hits("/start"), wire.server.hits("/next"), counted(breaker))


def test_redirects_are_left_alone_unless_asked_for(wire: Wire) -> None:
    """A redirect is an answer; the next request is prepared as ever."""
    wire.server.play("/start", redirect("/next"))
    response = wire.client(retry(2)).get("/start")
    assert (302, "/next", 1) == (response.status_code, response.next_request.url.path, wire.server.hits())


@pytest.mark.parametrize(("status", "method", "body"), [(307, "POST", b'{"a":1}'), (303, "GET", b"")])
def test_a_redirected_post(wire: Wire, status: int, method: str, body: bytes) -> None:
    """307 sends the same body to the next place, 303 turns it into a GET, which may be retried."""
    wire.server.play("/start", redirect("/next", status))
    wire.server.play("/next", answer(503), answer(200, b"there"))
    response = wire.client(retry(2), follow_redirects=True).post("/start", json={"a": 1})
    assert (503 if method == "POST" else 200) == response.status_code
    assert {(method, body)} == {(request.method, request.body) for request in wire.server.seen("/next")}


def test_too_many_redirects(wire: Wire) -> None:
    """The client's own error, unchanged."""
    wire.server.play("/start", redirect("/start"))
    breaker = counter()
    with pytest.raises(wire.lib.TooManyRedirects):
        wire.client(retry(2), breaker, follow_redirects=True, max_redirects=3).get("/start")
    assert (4, (4, 0)) == (wire.server.hits(), counted(breaker))


def test_hooks_run_once_a_call(wire: Wire) -> None:
    """Not once an attempt; the response hook has the last response."""
    seen: list[Any] = []
    hooks = {
        "request": [hook(wire, lambda request: seen.append(request.method))],
        "response": [hook(wire, lambda response: seen.append(response.status_code))],
    }
    wire.server.play("/", answer(503), answer(201))
    wire.client(retry(2), event_hooks=hooks).get("/")
    assert ["GET", 201] == seen


def test_a_hook_may_raise_for_status(wire: Wire) -> None:
    """What it raises is not retried: it comes after the protected call."""

    def check(response: Any) -> None:
        response.raise_for_status()

    wire.server.play("/", answer(503))
    client = wire.client(retry(2), event_hooks={"request": [], "response": [hook(wire, check)]})
    with pytest.raises(wire.lib.HTTPStatusError):
        client.get("/")
    assert (2, 0) == (wire.server.hits(), client.busy())


def test_digest_auth(wire: Wire) -> None:
    """The challenge is answered; the answer's failures are retried with the same credentials."""
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}
    wire.server.play("/", answer(401, headers=challenge), answer(503), answer(200, b"secret"))
    response = wire.client(retry(2), auth=wire.lib.DigestAuth("me", "pass")).get("/")
    first, second, third = (request.headers.get("authorization") for request in wire.server.seen())
    assert (b"secret", None, True) == (response.content, first, second == third and str(second).startswith("Digest "))


def two_steps(wire: Wire) -> Any:
    """Returns an auth flow that fetches a token first."""

    class TwoSteps(wire.lib.Auth):  # type: ignore[misc]
        requires_response_body = True

        def auth_flow(self, request: Any) -> Iterator[Any]:
            answered = yield wire.lib.Request("GET", f"{wire.server.root}/token")
            request.headers["Authorization"] = answered.text
            yield request

    return TwoSteps()


def test_auth_in_two_steps(wire: Wire) -> None:
    """Each step is a call of its own, retried on its own."""
    wire.server.play("/token", answer(503), answer(200, b"token 5"))
    wire.server.play("/", answer(503), answer(200, b"secret"))
    client = wire.client(retry(2), auth=two_steps(wire))
    assert b"secret" == client.get("/").content
    assert ["token 5", "token 5"] == [request.headers.get("authorization") for request in wire.server.seen("/")]
    assert (2, 0) == (wire.server.hits("/token"), client.busy())


def test_a_step_of_an_auth_flow_is_governed_to_its_end(wire: Wire) -> None:
    """It is no stream: half a token is retried like half of any other answer."""
    wire.server.play("/token", half(b"tok"), answer(200, b"token 5"))
    client = wire.client(retry(2), auth=two_steps(wire))
    assert b"fine" == client.get("/").content
    assert 2 == wire.server.hits("/token")


def test_base_url_params_cookies_and_headers(wire: Wire) -> None:
    """All that a client adds to a request is in every attempt."""
    wire.server.play("/api/x", answer(503), answer())
    client = wire.client(
        retry(2), base_url=f"{wire.server.root}/api", params={"q": "1"}, cookies={"c": "2"}, headers={"X-Own": "3"}
    )
    client.get("x")
    sent = [(each.target, each.headers["cookie"], each.headers["x-own"]) for each in wire.server.seen()]
    assert [("/api/x?q=1", "c=2", "3")] * 2 == sent


def test_cookies_are_kept_between_calls(wire: Wire) -> None:
    """Those of the response that the caller got."""
    wire.server.play("/", answer(headers={"Set-Cookie": "a=1"}), answer())
    client = wire.client(retry(2))
    client.get("/")
    client.get("/")
    assert [None, "a=1"] == [each.headers.get("cookie") for each in wire.server.seen()]


def test_mounts_are_protected(wire: Wire) -> None:
    """Whatever transport a request goes through."""
    mounted = wire.transport()
    client = wire.client(retry(2), mounts={"all://127.0.0.1": mounted})
    wire.server.play("/", answer(503), answer())
    assert (200, 2) == (client.get("/").status_code, wire.server.hits())
    assert (1, 0) == (len(mounted._pool.connections), len(client.pool().connections))


def test_a_mount_of_nothing_means_the_clients_own_transport(wire: Wire) -> None:
    """As without protection."""
    client = wire.client(retry(2), mounts={"all://127.0.0.1": None, "all://elsewhere": wire.transport()})
    wire.server.play("/", answer(503), answer())
    assert (200, 2) == (client.get("/").status_code, wire.server.hits())
    assert 1 == len(client.pool().connections)


def test_a_transport_in_two_mounts_stays_one(wire: Wire) -> None:
    """And a proxy's is protected too."""
    shared = wire.transport()
    client = wire.client(retry(2), transport=shared, mounts={"http://a": shared, "http://b": shared})
    assert 1 == len({id(each) for each in (client.own._transport, *client.own._mounts.values())})


def test_a_client_is_closed_with_its_connections(wire: Wire) -> None:
    """Also by `with`, which opens and closes every transport."""
    made = wire.bare()
    protect(made.own, unbounded(retry(2)))
    if wire.sync:
        with made.own as own:
            own.get("/")
            wire.server.until_open(1)
    else:

        async def main() -> None:
            async with made.own as own:
                await own.get("/")
                wire.server.until_open(1)

        wire.run(main())
    wire.server.until_open(0)
    assert made.own.is_closed
    with pytest.raises(RuntimeError, match="client has been closed"):
        made.get("/")


def test_a_request_may_be_sent_again_by_hand(wire: Wire) -> None:
    """Nothing of the first time is left in it."""
    client = wire.client(retry(2))
    request = client.own.build_request("POST", "/", json={"a": 1})
    before = dict(request.headers), dict(request.extensions)
    assert [200, 200] == [client.send(request).status_code for _ in range(2)]
    after = {key: value for key, value in request.extensions.items() if not key.startswith("seawall.")}
    assert before == (dict(request.headers), after)
    assert [b'{"a":1}'] * 2 == [each.body for each in wire.server.seen()]


def test_what_the_client_calls_itself_is_logged_once(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    """The library's own log has a line a call, with the last status."""
    wire.server.play("/", answer(503), answer(202))
    with caplog.at_level("INFO", wire.lib.__name__):
        wire.client(retry(2)).get("/")
    lines = [record.getMessage() for record in caplog.records if record.name == wire.lib.__name__]
    assert [f'HTTP Request: GET {wire.server.root}/ "HTTP/1.1 202 Said"'] == lines
