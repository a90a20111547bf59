"""The correlation id: where it is seen, what it may be, and where it ends."""

import asyncio
import threading

import pytest

from seawall import correlation, correlation_id


def test_it_is_seen_inside_the_block_alone() -> None:
    """The innermost block's id is read; outside any there is none."""
    seen = [correlation_id()]
    with correlation("outer"):
        seen.append(correlation_id())
        with correlation("inner") as named:
            seen += [correlation_id(), named.id]
        seen.append(correlation_id())
    seen.append(correlation_id())
    assert [None, "outer", "inner", "inner", "outer", None] == seen


def test_one_is_made_where_none_is_given() -> None:
    """Made ids are 32 hexadecimal digits, and differ."""
    with correlation() as one, correlation() as other:
        assert one.id != other.id
        assert 32 == len(one.id)
        assert other.id == correlation_id()
        int(one.id, 16)


@pytest.mark.parametrize("hostile", ["", "a b", "a\nb", "a=b", "ä", "x" * 129, 7, b"abc"])
def test_what_could_forge_a_header_or_a_log_line_is_refused(hostile: object) -> None:
    """The error names the argument, what was given (shortened) and what would be right."""
    with pytest.raises(ValueError, match="is no correlation id; use 1 to 128 letters, digits") as refused:
        correlation(hostile)  # type: ignore[arg-type]
    assert len(str(refused.value)) < 200


def test_the_longest_one_is_kept_as_it_is() -> None:
    """128 characters are allowed."""
    with correlation("x" * 128):
        assert "x" * 128 == correlation_id()


def test_concurrent_tasks_do_not_mix() -> None:
    """Each task sees its own id, through any number of awaits, and hands it to the tasks that it starts."""

    async def child() -> str | None:
        await asyncio.sleep(0)
        return correlation_id()

    async def task(number: int) -> bool:
        async with correlation(f"task-{number}"):
            await asyncio.sleep(0)
            children = await asyncio.gather(child(), child())
            return {f"task-{number}"} == {correlation_id(), *children}

    async def main() -> list[bool]:
        return await asyncio.gather(*(task(number) for number in range(100)))

    assert all(asyncio.run(main()))


def test_a_new_thread_has_none() -> None:
    """A thread that is started plainly starts without one, as with every context variable."""
    seen: list[str | None] = []
    with correlation("here"):
        thread = threading.Thread(target=lambda: seen.append(correlation_id()))
        thread.start()
        thread.join()
    assert [None] == seen


def test_the_same_object_may_be_entered_again() -> None:
    """One object may name two blocks, nested or one after the other."""
    named = correlation("again")
    with named, named:
        pass
    assert correlation_id() is None
