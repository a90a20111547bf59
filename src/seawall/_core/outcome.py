"""What the end of a call says about the dependency.

Judged by the exception itself, never by its causes, in this order: *cancelled* and *rejected* say nothing, what is
ignored says nothing, what is listed in `on` is a failure, and any other exception means that the dependency answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from seawall._core.arguments import Matcher
from seawall._core.errors import CallTimeoutError, RejectedError, SeawallError

Value = TypeVar("Value")

FAILURE, SUCCESS, RELEASE = "failure", "success", "release"


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Value]):
    """A call that gave a value, and how it came about.

    Attributes:
        value: what the call returned.
        served_by: "primary", or the name of the fallback that answered.
        attempts: calls of the protected function itself, the first included.
        duration: seconds in all, waiting included.
    """

    value: Value
    served_by: str
    attempts: int
    duration: float


VERDICT: Final = "__seawall_verdict__"
"""The attribute in which an integration notes on an exception what it says, for strategies that were not told."""


def says_nothing(error: BaseException) -> bool:
    """Whether the call was cancelled, rejected by us, or cut by the caller's own deadline; a group, if all were."""
    if isinstance(error, BaseExceptionGroup):
        return all(says_nothing(each) for each in error.exceptions)
    if isinstance(error, Exception):
        return isinstance(error, RejectedError) or (isinstance(error, CallTimeoutError) and error.by_deadline)
    return True


def asker(match: Matcher) -> Callable[[Exception], bool]:
    """Turns a matcher into a function of the exception."""
    if isinstance(match, type | tuple):
        return lambda error: isinstance(error, match)
    return lambda error: bool(match(error))


def judge_by(on: Matcher, ignore: Matcher) -> Callable[[BaseException], str]:
    """Returns the function that judges an exception: FAILURE, SUCCESS or RELEASE."""
    fails, ignored = asker(on), asker(ignore)

    def judge(error: BaseException) -> str:
        if says_nothing(error) or not isinstance(error, Exception) or ignored(error):
            return RELEASE
        if on is Exception:
            return str(error.__dict__.get(VERDICT, FAILURE))
        return FAILURE if fails(error) else SUCCESS

    return judge


def retriable(on: Matcher) -> Callable[[BaseException], bool]:
    """Returns the function that says whether a Retry handles an exception.

    A rejection is handled only where its class, or a rejection class above it, is listed; what is not `repeatable`
    never is.
    """
    fails = asker(on)
    classes = on if isinstance(on, tuple) else (on,)
    rejections = tuple(kind for kind in classes if isinstance(kind, type) and issubclass(kind, RejectedError))

    def handles(error: BaseException) -> bool:
        if isinstance(error, RejectedError):
            return isinstance(error, rejections)
        if isinstance(error, BaseExceptionGroup) and says_nothing(error):
            return False
        return isinstance(error, Exception) and not unrepeatable(error) and fails(error)

    return handles


def unrepeatable(error: BaseException) -> bool:
    """Whether an exception, or one of a group, says that its call must not be repeated."""
    if isinstance(error, BaseExceptionGroup):
        return any(unrepeatable(each) for each in error.exceptions)
    return isinstance(error, SeawallError) and not error.repeatable


def label(error: BaseException) -> str:
    """Names how a whole call ended that raised, for events."""
    if isinstance(error, RejectedError):
        return "rejected"
    return "failure" if isinstance(error, Exception) else "cancelled"
