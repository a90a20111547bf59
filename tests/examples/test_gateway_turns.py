"""Who the LLM gateway asks first: the providers in turn, as long as they answer when it is theirs."""

import asyncio

import pytest

pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")
pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

from examples.llmgateway.provider import Faults
from examples.llmgateway.turns import Turns
from examples.llmgateway.wire import ProviderName
from seawall import snapshot
from seawall.testing import FakeClock
from tests.examples.llmgateway import free_names, gateway, question, streamed

NAMES: tuple[ProviderName, ...] = ("anthropic", "openai")


@pytest.fixture
def turns() -> Turns:
    """Turns of two providers, of which each may leave the answer to the other one twice in a row."""
    free_names()
    return Turns(NAMES, failures=2, open_for=30.0)


def asked(turns: Turns, count: int, answering: ProviderName | None = None) -> list[ProviderName]:
    """Take turns; each is answered by `answering`, or by whose turn it is. Return whose turns they were."""
    firsts: list[ProviderName] = []
    for _ in range(count):
        with turns.take() as turn:
            firsts.append(turn.first)
            turn.answered = answering or turn.first
    return firsts


def test_they_take_turns(turns: Turns) -> None:
    """One after the other, as long as each answers."""
    assert ["anthropic", "openai", "anthropic", "openai"] == asked(turns, 4)


def test_who_leaves_the_answer_to_the_other_one_is_left_out_and_tried_again_later() -> None:
    """Twice in a row, then 30 s; then one try decides."""
    free_names()
    with FakeClock() as clock:
        turns = Turns(NAMES, failures=2, open_for=30.0)
        assert ["anthropic", "openai", "anthropic"] == asked(turns, 3, "openai")
        assert ["openai"] * 6 == asked(turns, 6, "openai")
        clock.advance(30.0)
        with turns.take() as first, turns.take() as second, turns.take() as third:
            tried = {first.first, second.first, third.first}
            first.answered, second.answered, third.answered = "openai", "openai", "openai"
        assert {"anthropic", "openai"} == tried
        assert ["openai"] * 4 == asked(turns, 4, "openai")
        clock.advance(30.0)
        assert {"anthropic", "openai"} == set(asked(turns, 4))
        assert 2 == asked(turns, 4).count("anthropic")


def test_now_and_then_is_not_in_a_row(turns: Turns) -> None:
    """A provider that answers between two faults is not left out."""
    for _ in range(5):
        assert ["anthropic"] == asked(turns, 1, "openai")
        assert ["openai", "anthropic", "openai"] == asked(turns, 3)


def test_a_request_that_nobody_answered_says_nothing(turns: Turns) -> None:
    """A customer who went away, or an error that the request is to blame for, leaves nobody out."""
    for _ in range(10):
        with pytest.raises(ValueError, match="nobody"), turns.take():
            raise ValueError("nobody")
    assert ["anthropic", "openai"] == asked(turns, 2)


def test_where_all_are_left_out_they_take_turns_again(turns: Turns) -> None:
    """Somebody has to be asked first."""
    for name, other in (NAMES, NAMES[::-1]):
        while snapshot()[f"{name}.turns"].state != "open":
            with turns.take() as turn:
                turn.answered = other if turn.first == name else turn.first
    assert {"anthropic", "openai"} == set(asked(turns, 4))


def test_a_provider_that_is_silent_throughout_holds_up_the_first_few_only() -> None:
    """It opens no breaker of its own, for its attempts are cancelled; who prefers it still asks it first."""

    async def test() -> None:
        async with gateway() as (system, client):
            system.providers["anthropic"].faults = Faults(1.0, ("stall",))
            for _ in range(12):
                answer = (await client.post("/v1/chat", json=question(provider=None))).json()
                assert "openai" == answer["provider"]
            assert 5 == len(system.providers["anthropic"].asked)
            assert not answer["usedFallback"]
            *_, (last, done) = await streamed(client, provider=None)
            assert ("done", False) == (last, done["usedFallback"])
            assert ("closed", "open") == tuple(snapshot()[f"anthropic.{each}"].state for each in ("breaker", "turns"))
            assert (await client.post("/v1/chat", json=question())).json()["usedFallback"]
            assert 6 == len(system.providers["anthropic"].asked)

    asyncio.run(test())
