"""Taking money once and only once: Stripe, else PayPal, and never both.

The rule: another provider is asked only where it is sure that no other one has charged. Whoever may have charged is
written down *before* it is asked (`Payment.provider`), and only a proof that it did not process the request strikes it
out again. So whatever happens then, a time-out, a crash of the task, a refusal later on, the payment is asked for at
that provider alone, under the same key, until the provider has said yes or no.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, Protocol

import httpx2

from examples.ticketwave.wire import ChargeOrder
from seawall import CircuitOpenError, Fallback, Pipeline, RejectedError
from seawall.integrations.httpx import unprocessed

LOGGER = logging.getLogger("ticketwave")
DECLINED: Final = 402
OPEN: Final = "PROVIDER_UNAVAILABLE"
FAILED: Final = "PROCESSING_ERROR"
NOBODY: Final = "ALL_PROVIDERS_FAILED"


@dataclass(slots=True, eq=False)
class Payment:
    """What is owed for an order, and what became of it. A `Payer` writes the lower half.

    Attributes:
        key: the idempotency key, the same for the whole life of the payment.
        provider: who charged, declined, or may have charged; None: surely nobody.
        turn: held by whoever asks for it, so that the customer's request and the settler never do at the same time.
    """

    key: str
    reference: str
    amount: Decimal
    currency: str
    card: str = field(repr=False)
    state: Literal["pending", "confirmed", "declined"] = "pending"
    provider: str | None = None
    used_fallback: bool = False
    error_code: str | None = None
    message: str = "The payment is being processed."
    turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def order(self) -> dict[str, object]:
        """Returns what a provider is asked for, as JSON."""
        order = ChargeOrder(amount=self.amount, currency=self.currency, card=self.card, reference=self.reference)
        return order.model_dump(mode="json", by_alias=True)

    def confirm(self, provider: str, *, fallback: bool) -> None:
        """The money is taken."""
        self.state, self.provider, self.used_fallback = "confirmed", provider, fallback
        self.error_code, self.message = None, "The payment is confirmed."

    def decline(self, provider: str | None, code: str, message: str) -> None:
        """The money is not taken, and will not be."""
        self.state, self.provider = "declined", provider
        self.error_code, self.message = code, message

    def wait(self, code: str, message: str) -> None:
        """Nothing is decided yet."""
        self.error_code, self.message = code, message


class Payer(Protocol):
    """Asks for a payment, as long as it is pending."""

    async def pay(self, payment: Payment) -> None:
        """Asks, and writes down what is known then. May be repeated."""


class NotChargedError(Exception):
    """A provider was asked and has surely not charged: another one may be."""

    def __init__(self, provider: str, code: str) -> None:
        super().__init__(f"{provider}: {code}")


class CarefulPayer:
    """Stripe first; PayPal where Stripe has surely not charged; nobody else where one of them may have.

    Args:
        providers: the protected clients by name, in the order in which they are asked.
    """

    def __init__(self, providers: Mapping[str, httpx2.AsyncClient]) -> None:
        self._clients = providers
        self._first, self._second = providers
        self._either = Pipeline("payments", Fallback(self.other_provider, on=NotChargedError))

    async def pay(self, payment: Payment) -> None:
        """Asks for a payment, as long as it is pending."""
        async with payment.turn:
            if payment.state != "pending":
                return
            if payment.provider is not None:
                await self._ask(payment.provider, payment)
                return
            try:
                await self._either.acall(self._ask, self._first, payment)
            except (NotChargedError, RejectedError) as error:  # the latter: no time was left to ask anybody
                reasons = "; ".join(str(each) for each in (error.__cause__, error) if each)
                payment.wait(NOBODY, f"Payment processing is temporarily unavailable ({reasons}).")
                LOGGER.warning("%s: nobody could charge (%s)", payment.reference, reasons)

    async def other_provider(self, failure: Exception, first: str, payment: Payment) -> None:
        """Asks the other provider."""
        await self._ask(self._second, payment)

    async def _ask(self, provider: str, payment: Payment) -> None:
        """Asks one provider. Raises NotChargedError where surely nobody has charged, neither now nor before."""
        before, payment.provider = payment.provider, provider
        try:
            response = await self._clients[provider].post(
                "/charges", json=payment.order(), headers={"Idempotency-Key": payment.key}
            )
        except httpx2.HTTPError as error:
            self._unanswered(provider, payment, before, error)
        else:
            if response.is_success:
                payment.confirm(provider, fallback=provider != self._first)
            elif response.status_code == DECLINED:
                payment.decline(provider, *_reason(response))
            else:
                self._unanswered(provider, payment, before, response)

    def _unanswered(
        self, provider: str, payment: Payment, before: str | None, result: httpx2.Response | httpx2.HTTPError
    ) -> None:
        code = OPEN if isinstance(result, CircuitOpenError) else FAILED
        if before is None and unprocessed(result):
            payment.provider = None
            raise NotChargedError(provider, code)
        # What is refused now says nothing about an earlier call, so a payment that was pending here stays here.
        payment.wait(code, f"It is not known yet whether {provider} charged. The payment will be settled there.")
        LOGGER.warning("%s: pending at %s after %s", payment.reference, provider, _brief(result))


def _reason(response: httpx2.Response) -> tuple[str, str]:
    """Returns code and message of a declined card, in our words where the provider has none."""
    try:
        error = response.json()["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return "CARD_DECLINED", "The card was declined."


def _brief(result: httpx2.Response | httpx2.HTTPError) -> str:
    if isinstance(result, httpx2.Response):
        return f"status {result.status_code}"
    return f"{type(result).__name__}: {result}"
