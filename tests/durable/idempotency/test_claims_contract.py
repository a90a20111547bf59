"""The verbs of claims, on every store there is: one holder at a time, and nobody writes who was overtaken."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seawall.durable.claims import Done, Held, Mismatch, New, Running, Unknown
from seawall.durable.claims_verbs import Complete, Doubt, Fence, ListUnknown, Look, Release, Renew, Settle, Take
from tests.durable.engines import CLAIMING, Engine, opened, over

LEASE = 100.0
PAST = -1.0  # a lease that has run out when it is taken: no test waits for one


@pytest.fixture(params=CLAIMING)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each kind of store that holds claims, in turn."""
    with opened(request.param, request, tmp_path) as made:
        yield made


def take(
    owner: str, fingerprint: str = "f", *, lease: float = LEASE, ttl: float = LEASE, takeover: bool = False
) -> Take:
    """Returns a claim on the one key of these tests."""
    return Take("ns", "key", fingerprint, owner, lease, ttl, takeover, "raw")


def held(owner: str, epoch: int = 1) -> Held:
    """Returns what says who holds it."""
    return Held("ns", "key", owner, epoch)


def done(owner: str, epoch: int = 1, ttl: float = LEASE) -> Complete:
    """Returns what completes it."""
    return Complete(held(owner, epoch), b"\x00\xff result", "raw", ttl)


def test_the_first_claim_is_new_and_the_others_find_it_running(engine: Engine) -> None:
    """A second run of the first one's script, after a lost answer, is the first one again."""
    assert New(1, False) == engine.run(take("a"))
    assert New(1, False) == engine.run(take("a"))
    running = engine.run(take("b"))
    assert isinstance(running, Running)
    assert 0 <= running.age < LEASE
    assert 0 < running.left <= LEASE


def test_fifty_claims_at_once_are_one_new(engine: Engine) -> None:
    """However many come at the same time, one runs; nobody fails."""
    answers = engine.together([take(f"owner-{number}") for number in range(50)])

    assert 1 == sum(answer == New(1, False) for answer in answers)
    assert 49 == sum(isinstance(answer, Running) for answer in answers)


def test_keys_of_other_namespaces_are_other_keys(engine: Engine) -> None:
    """Also where a namespace and a key together spell the same."""
    for namespace, key in (("a", "b:c"), ("a:b", "c"), ("1:a", "b:c"), ("", "a:b:c")):
        assert New(1, False) == engine.run(Take(namespace, key, "", f"{namespace}/{key}", LEASE, LEASE, False, "raw"))


def test_a_result_is_stored_once_and_given_to_all(engine: Engine) -> None:
    """Bytes come back to the byte, with the name of their codec."""
    engine.run(take("a"))

    assert engine.run(done("a"))
    assert engine.run(done("a"))  # a second run of the same
    assert Done(b"\x00\xff result", "raw") == engine.run(take("b"))
    assert not engine.run(Renew(held("a"), LEASE))


def test_another_fingerprint_is_a_mismatch_in_every_state(engine: Engine) -> None:
    """The key belongs to the first request, while that runs, is done, or is unknown."""
    engine.run(take("a"))
    assert Mismatch() == engine.run(take("b", "other"))
    engine.run(Doubt(held("a"), "why"))
    assert Mismatch() == engine.run(take("b", "other"))
    engine.run(Settle("ns", "key", "operator", "", "done", b"1", "raw", "", LEASE))
    assert Mismatch() == engine.run(take("b", "other"))


def test_a_record_that_has_expired_counts_no_more(engine: Engine) -> None:
    """After the ttl the key is free, for another request too."""
    engine.run(take("a"))
    engine.run(done("a", ttl=PAST))

    assert engine.run(Look("ns", "key")) is None
    assert isinstance(engine.run(take("b", "other")), New)
    assert not engine.run(done("a"))


def test_a_failed_operation_is_free_again(engine: Engine) -> None:
    """Release lets the next one run, whatever it asks for; the failure is shown until then."""
    engine.run(take("a"))

    assert engine.run(Release(held("a"), "no funds"))
    assert engine.run(Release(held("a"), "no funds"))
    shown = engine.run(Look("ns", "key"))
    assert ("failed", "no funds") == (shown.state, shown.note)
    assert New(2, False) == engine.run(take("b", "other"))
    assert not engine.run(Release(held("a"), "late"))


def test_an_expired_claim_is_taken_over_where_it_may_be(engine: Engine) -> None:
    """The epoch grows, and the holder that was overtaken changes nothing any more."""
    engine.run(take("a", lease=PAST, takeover=True))

    assert New(2, True) == engine.run(take("b", takeover=True))
    for late in (Renew(held("a"), LEASE), done("a"), Doubt(held("a"), ""), Release(held("a"), "")):
        assert not engine.run(late)
    assert engine.run(done("b", 2))


def test_an_expired_claim_is_unknown_where_it_may_not(engine: Engine) -> None:
    """It is told as fresh the first time; nobody runs it again."""
    engine.run(take("a", lease=PAST))
    first, second = (engine.run(take("b", takeover=True)) for _ in range(2))

    assert isinstance(first, Unknown)
    assert isinstance(second, Unknown)
    assert ("a", True, False) == (first.owner, first.fresh, second.fresh)
    assert "unknown" == engine.run(Look("ns", "key")).state


def test_a_holder_that_comes_back_settles_what_is_unknown(engine: Engine) -> None:
    """Nobody took over meanwhile: it knows how it ended. Its heartbeat makes the claim run on."""
    engine.run(take("a", lease=PAST))
    engine.run(take("b"))

    assert engine.run(Renew(held("a"), LEASE))
    assert isinstance(engine.run(take("b")), Running)
    assert engine.run(done("a"))
    assert isinstance(engine.run(take("b")), Done)


def test_a_claim_in_doubt_is_unknown_and_a_late_heartbeat_does_not_change_that(engine: Engine) -> None:
    """Its holder said so, and a heartbeat that was on its way comes too late."""
    engine.run(take("a"))

    assert engine.run(Doubt(held("a"), "the answer did not come"))
    assert engine.run(Doubt(held("a"), "the answer did not come"))
    assert not engine.run(Renew(held("a"), LEASE))
    assert Unknown("a", "the answer did not come", False) == engine.run(take("b"))


def test_a_heartbeat_puts_the_end_of_the_lease_forward(engine: Engine) -> None:
    """From the time of the heartbeat on."""
    engine.run(take("a", lease=PAST, takeover=True))

    assert engine.run(Renew(held("a"), LEASE))
    answer = engine.run(take("b", takeover=True))
    assert isinstance(answer, Running)
    assert answer.left > LEASE / 2


def test_what_is_unknown_is_settled_by_a_result_or_as_not_done(engine: Engine) -> None:
    """Once: a second settler finds nothing to settle, a second run of the first says the same again."""
    engine.run(take("a"))
    engine.run(Doubt(held("a"), ""))
    settle = Settle("ns", "key", "operator", "", "done", b"found", "raw", "seen at the bank", LEASE)
    other = Settle("ns", "key", "other", "", "failed", None, "", "", LEASE)

    assert [True, True, False] == [engine.run(each) for each in (settle, settle, other)]
    assert Done(b"found", "raw") == engine.run(take("b"))


def test_what_runs_is_not_settled_and_what_stands_still_is(engine: Engine) -> None:
    """A live claim is its holder's; one whose lease has run out may be settled, and then its holder is fenced off."""
    settle = Settle("ns", "key", "operator", "", "failed", None, "", "surely not", LEASE)
    assert not engine.run(settle)
    engine.run(take("a"))
    assert not engine.run(settle)
    engine.run(Renew(held("a"), PAST))

    assert engine.run(settle)
    assert not engine.run(done("a"))
    assert isinstance(engine.run(take("b")), New)


def test_only_the_claim_that_was_looked_at_is_settled(engine: Engine) -> None:
    """What somebody else did meanwhile is not overwritten."""
    engine.run(take("a"))
    engine.run(Doubt(held("a"), ""))

    assert not engine.run(Settle("ns", "key", "me", "somebody", "failed", None, "", "", LEASE))
    assert engine.run(Settle("ns", "key", "me", "a", "failed", None, "", "", LEASE))


def test_looking_shows_a_claim_and_changes_nothing(engine: Engine) -> None:
    """Every field, as it was written."""
    assert engine.run(Look("ns", "key")) is None
    engine.run(take("a", ttl=500.0, takeover=True))
    for _ in range(2):
        shown = engine.run(Look("ns", "key"))
        assert ("running", "f", "a", 1, True, None) == (
            shown.state, shown.fingerprint, shown.owner, shown.epoch, shown.takeover, shown.result,
        )  # fmt: skip
        assert LEASE - 30 < shown.left <= LEASE
        assert LEASE < shown.kept <= 500
        assert not shown.lapsed


@over(*CLAIMING[:5])
def test_what_is_unknown_is_listed(engine: Engine) -> None:
    """Oldest first, also what nobody has asked for since its lease ran out; nothing else."""
    for key, lease, takeover in (("runs", LEASE, False), ("lapsed", PAST, False), ("again", PAST, True)):
        engine.run(Take("ns", key, "", key, lease, LEASE, takeover, "raw"))
    engine.run(take("a"))
    engine.run(Doubt(held("a"), "why"))
    engine.run(Take("other", "lapsed", "", "o", PAST, LEASE, False, "raw"))

    assert ["lapsed", "key"] == [each.key for each in engine.run(ListUnknown("ns", 10))]
    assert ["lapsed"] == [each.key for each in engine.run(ListUnknown("ns", 1))]
    assert ["ns", "ns", "other"] == [each.namespace for each in engine.run(ListUnknown("", 10))]


@over(*CLAIMING[:5])
def test_a_commit_of_unknown_end_is_settled_by_the_claim(engine: Engine) -> None:
    """It says done, or fences off what was not committed and holds on under the next epoch."""
    engine.run(take("a"))
    fence = Fence(held("a"), LEASE)
    assert [2, 2] == [engine.run(fence) for _ in range(2)]
    assert not engine.run(done("a"))

    assert engine.run(done("a", 2))
    assert Done(b"\x00\xff result", "raw") == engine.run(Fence(held("a", 2), LEASE))
    assert engine.run(Fence(held("z"), LEASE)) is None


@over(*CLAIMING[:5])
def test_a_result_commits_with_the_transaction_that_it_is_part_of(engine: Engine) -> None:
    """And is gone with it when that is rolled back."""
    engine.run(take("a"))

    class _BreakError(Exception):
        pass

    with pytest.raises(_BreakError):
        engine.enlisted(done("a"), failure=_BreakError())
    assert isinstance(engine.run(take("b")), Running)
    assert [True] == engine.enlisted(done("a"))
    assert isinstance(engine.run(take("b")), Done)


def test_a_verb_that_a_store_cannot_do_says_so(redis_url: str) -> None:
    """A store without transactions names what would be right."""
    from seawall.durable import StoreError, open_store

    store: Any = open_store(redis_url)
    with pytest.raises(StoreError, match=r"Fence .*use a store on SQLite"):
        store.run(Fence(held("a"), LEASE))
    with pytest.raises(StoreError, match="no transactions"):
        store.on(object())
    store.close()
