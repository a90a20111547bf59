"""PerHost: a pipeline for each host, bounded, idle ones let go, never one that is in use."""

import gc
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from seawall import CircuitBreaker, CircuitOpenError, Pipeline, Retry
from seawall.integrations.httpx import PerHost, protect, transient
from seawall.testing import FakeClock
from tests.integrations.httpx.driver import Client, Wire, retry, unbounded
from tests.integrations.httpx.server import answer


class Made:
    """A `make` that keeps the hosts that it was called for."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    def __call__(self, host: str) -> Pipeline:
        """Makes one."""
        self.hosts.append(host)
        return unbounded(retry(2), CircuitBreaker(failures=1, open_for=60))


def talking(wire: Wire, hosts: PerHost, reply: Callable[[str], int] = lambda host: 200) -> Client:
    """Returns a client of hosts that exist in this process alone; `reply` says how each answers."""

    def handle(request: Any) -> Any:
        return wire.lib.Response(reply(request.url.host))

    return wire.client(hosts, transport=wire.lib.MockTransport(handle))


def test_each_host_has_a_pipeline(wire: Wire) -> None:
    """Made once, when it is first needed; a port that is not the usual one belongs to the host."""
    made = Made()
    hosts = PerHost(made)
    client = talking(wire, hosts)
    assert {} == hosts.pipelines()
    urls = ["http://a.example/x", "http://a.example:80/y", "https://a.example/", "http://a.example:8080/"]
    for url in [*urls, "http://b.example/", "http://user:secret@b.example/", "http://[::1]:7/", *urls]:
        assert 200 == client.get(url).status_code
    expected = ["a.example", "a.example:8080", "b.example", "[::1]:7"]
    assert (expected, set(expected)) == (made.hosts, set(hosts.pipelines()))
    assert 4 == len({id(pipeline) for pipeline in hosts.pipelines().values()})


def test_one_hosts_failures_are_its_own(wire: Wire) -> None:
    """Its circuit opens, the other's stays closed; retries too are each host's."""
    hosts = PerHost(Made())
    client = talking(wire, hosts, lambda host: 503 if host == "bad" else 200)
    for _ in range(2):
        with pytest.raises(CircuitOpenError):  # opened by the first attempt, met by the second
            client.get("http://bad/")
    assert 200 == client.get("http://good/").status_code
    states = {host: pipeline.get(CircuitBreaker).state for host, pipeline in hosts.pipelines().items()}
    assert {"bad": "open", "good": "closed"} == states


def test_a_redirect_to_another_host_goes_through_its_pipeline(wire: Wire) -> None:
    """Each hop by its own host."""
    made = Made()
    wire.server.play("/", answer(302, headers={"Location": f"http://localhost:{wire.server.port}/next"}))
    client = wire.client(PerHost(made), follow_redirects=True)
    assert 200 == client.get("/").status_code
    assert [f"127.0.0.1:{wire.server.port}", f"localhost:{wire.server.port}"] == made.hosts


def test_no_more_than_so_many_hosts(wire: Wire) -> None:
    """The one that was not used for longest is let go; one that comes back starts anew."""
    made = Made()
    hosts = PerHost(made, max_hosts=2)
    client = talking(wire, hosts)
    for host in "abacb":
        client.get(f"http://{host}/")
    assert (["a", "b", "c", "b"], {"c", "b"}) == (made.hosts, set(hosts.pipelines()))
    for number in range(100):
        client.get(f"http://h{number}/")
    assert 2 == len(hosts.pipelines())


def test_used_is_when_a_request_ended(wire: Wire) -> None:
    """Not when it began: a host that was busy until now is not the one unused for longest."""
    hosts = PerHost(Made(), max_hosts=2)

    def reply(host: str) -> int:
        if host == "long":
            clock.advance(100)
            lend(hosts, "short")
            clock.advance(100)
        return 200

    client = talking(wire, hosts, reply)
    with FakeClock() as clock:
        client.get("http://long/")
        client.get("http://third/")
    assert {"long", "third"} == set(hosts.pipelines())


def lend(hosts: PerHost, host: str) -> None:
    """Makes a request to another host while one is under way."""
    hosts.give_back(hosts.lend(SimpleNamespace(url=SimpleNamespace(netloc=host.encode()))))


def test_idle_pipelines_are_let_go(wire: Wire) -> None:
    """After `idle` seconds without use, when the next request comes."""
    hosts = PerHost(Made(), idle=300)
    client = talking(wire, hosts)
    with FakeClock() as clock:
        client.get("http://a/")
        clock.advance(299)
        client.get("http://b/")
        assert {"a", "b"} == set(hosts.pipelines())
        clock.advance(1)
        client.get("http://b/")
        assert {"b"} == set(hosts.pipelines())
        clock.advance(1000)
        client.get("http://b/")
        assert {"b"} == set(hosts.pipelines())


def test_idle_pipelines_are_let_go_beside_one_that_lasted(wire: Wire) -> None:
    """One whose request ended lately does not hide those behind it."""
    hosts = PerHost(Made(), idle=300)

    def reply(host: str) -> int:
        if host == "long":
            lend(hosts, "idle")
            clock.advance(400)
        return 200

    client = talking(wire, hosts, reply)
    with FakeClock() as clock:
        client.get("http://long/")
        client.get("http://other/")
    assert {"long", "other"} == set(hosts.pipelines())


def test_a_pipeline_in_use_stays(wire: Wire) -> None:
    """However many hosts are called meanwhile, and however long it takes; then the bound holds again."""
    made = Made()
    hosts = PerHost(made, max_hosts=1, idle=10)
    during: list[set[str]] = []

    def reply(host: str) -> int:
        if host == "a":
            clock.advance(1000)
            lend(hosts, "b")
            lend(hosts, "c")
            during.append(set(hosts.pipelines()))
        return 200

    client = talking(wire, hosts, reply)
    with FakeClock() as clock:
        client.get("http://a/")
        assert [{"a", "c"}] == during
        client.get("http://d/")
        assert {"d"} == set(hosts.pipelines())
    assert ["a", "b", "c", "d"] == made.hosts


def test_a_pipeline_is_in_use_until_its_call_ends_whatever_ends_it(wire: Wire) -> None:
    """Failures and errors give it back too."""
    hosts = PerHost(Made(), max_hosts=1)

    def reply(host: str) -> int:
        if host == "fails":
            raise LookupError
        return 503 if host == "bad" else 200

    client = talking(wire, hosts, reply)
    with pytest.raises(LookupError):
        client.get("http://fails/")
    with pytest.raises(CircuitOpenError):
        client.get("http://bad/")
    client.get("http://last/")
    assert {"last"} == set(hosts.pipelines())


def test_make_may_raise(wire: Wire) -> None:
    """The caller has its error; the next call asks again, and the host takes no room for good."""
    tries: list[str] = []

    def make(host: str) -> Pipeline:
        tries.append(host)
        if len(tries) == 1:
            raise LookupError("no settings yet")
        return unbounded(retry(2))

    hosts = PerHost(make, max_hosts=1)
    client = talking(wire, hosts)
    with pytest.raises(LookupError, match="no settings yet"):
        client.get("http://a/")
    assert {} == hosts.pipelines()
    assert [200, 200] == [client.get("http://a/").status_code for _ in range(2)]
    assert 200 == client.get("http://b/").status_code
    assert (["a", "a", "b"], {"b"}) == (tries, set(hosts.pipelines()))


@pytest.mark.parametrize("rubbish", [None, "pipeline", Pipeline, Retry(on=transient)])
def test_make_may_return_rubbish(wire: Wire, rubbish: Any) -> None:
    """The error names the call and the value."""
    client = talking(wire, PerHost(lambda host: rubbish))
    with pytest.raises(TypeError, match=r"make\('a'\) is .*, no pipeline; use Pipeline\('name'"):
        client.get("http://a/")


def test_threads_that_race_for_a_new_host_make_one_pipeline(swire: Wire) -> None:
    """They wait for one another."""
    made: list[str] = []

    def make(host: str) -> Pipeline:
        made.append(host)
        time.sleep(0.01)
        return unbounded(retry(2))

    client = talking(swire, PerHost(make))
    gate = threading.Barrier(8)
    statuses: list[int] = []

    def call() -> None:
        gate.wait()
        for host in ("a", "b"):
            statuses.append(client.get(f"http://{host}/").status_code)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ([200] * 16, ["a", "b"]) == (statuses, sorted(made))


def test_a_host_that_comes_back_needs_no_other_name(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    """The pipeline that was let go is gone at once: its name is not in use any more (a warning would be an error)."""
    caplog.set_level("CRITICAL", "seawall")  # pytest keeps what is logged, with the failures
    hosts = PerHost(lambda host: named(f"{host} {id(wire)}"), max_hosts=1)
    client = talking(wire, hosts, lambda host: 503)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            for host in "ab":
                assert 503 == client.get(f"http://{host}/").status_code
    finally:
        gc.enable()


def named(name: str) -> Pipeline:
    """Returns a pipeline of this name; its breaker has one of its own too."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*time unbounded")
        return Pipeline(name, retry(2), CircuitBreaker(failures=100, name=f"breaker of {name}"))


def test_two_clients_may_share_hosts(wire: Wire) -> None:
    """One pipeline a host, over both, also where the other one is of the other colour."""
    made = Made()
    hosts = PerHost(made)
    one, two = talking(wire, hosts), talking(wire, hosts)
    other = wire.lib.AsyncClient if wire.sync else wire.lib.Client
    protect(other(transport=wire.lib.MockTransport(lambda request: wire.lib.Response(200))), hosts)
    for client in (one, two):
        client.get("http://a/")
    assert ["a"] == made.hosts


def test_what_it_says_of_itself(wire: Wire) -> None:
    """How many hosts, of how many."""
    hosts = PerHost(Made(), max_hosts=5, idle=60)
    assert "PerHost(0 of at most 5 hosts, idle=60)" == repr(hosts)
    talking(wire, hosts).get("http://a/")
    assert "PerHost(1 of at most 5 hosts, idle=60)" == repr(hosts)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"make": 5}, "make=5"),
        ({"max_hosts": 0}, "max_hosts=0"),
        ({"max_hosts": 1.5}, "max_hosts=1.5"),
        ({"idle": 0}, "idle=0"),
        ({"idle": -1}, "idle=-1"),
        ({"idle": "long"}, "idle='long'"),
        ({"clock": 5}, "clock=5"),
    ],
)
def test_misuse(arguments: dict[str, Any], wanted: str) -> None:
    """The error names the argument and the value."""
    with pytest.raises((TypeError, ValueError), match=wanted):
        PerHost(**{"make": Made(), **arguments})
