"""Why a signal was traded or not: its story for each strategy, told in lines or as JSON.

The facts are `lt_explain`'s; what would have passed in place of the number that failed is `orders/passing.py`'s.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from rich.text import Text

from worker.database.reports import Reports
from worker.database.values import Row, row_of, rows_of, text_of, texts_of
from worker.orders.passing import Passing, passing
from worker.orders.reasons import SkipReason
from worker.verbs.words import (
    Part,
    clock_time,
    columns,
    counted,
    line,
    moment,
    price,
    said,
    shares,
    since,
    styled,
    took,
    usd,
)

_SHORT = 18  # digits of an address that tell it from others

_UNDECIDED: Mapping[str, str] = {
    "waiting": "It is in scope and not decided yet: worker {worker} holds the wallet.",
    "no_worker": "It is in scope, and no worker trades for this wallet in {mode} mode: start `polycopy-worker run`.",
    "other_mode": "It is in scope in {mode} mode, which these settings ask about, and the strategy is traded in {other} mode, "
    "by worker {other_worker}: ask with POLYCOPY_MODE={other}.",
    "no_insert_time": "Out of scope: the row has no created_at, so nobody can say when it was inserted.",
    "beyond_horizon": "Out of scope: it was inserted longer ago than undecided work is looked for (lt_config `horizon`).",
    "before_scope": "Out of scope: it was inserted before the strategy answers for this paper wallet, since {since}. "
    "`polycopy-worker run --backfill-only --since TIME --strategy {strategy}` takes older signals in.",
    "after_scope": "Out of scope: it was inserted after the strategy was deactivated, or pointed at another paper "
    "wallet, at {until}.",
    "never_active": "Out of scope: the strategy follows this paper wallet and was never activated on it.",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One strategy's part of the story. `told`: an entry of `strategies` in the answer of `lt_explain`."""

    told: Row
    strategy_id: str
    mode: str
    state: str
    reason: SkipReason | None  # None: none is needed, or another version's word
    passing: Passing | None

    @classmethod
    def of(cls, row: Row) -> Self:
        """Raises SchemaError."""
        word, state = row.get("reason"), text_of(row, "state")
        reason = next((reason for reason in SkipReason if reason == word), None)
        would = None
        if reason is not None:
            value, limit = str(row.get("value") or ""), str(row.get("limit") or "")
            would = passing(reason, value, limit, row_of(row, "snapshot"))
        return cls(row, text_of(row, "strategy_id"), text_of(row, "mode"), state, reason, would)

    @property
    def why(self) -> str:
        """Why it stands as it does, in a sentence; '' where it was executed."""
        if self.reason is not None:
            return self.reason.sentence
        undecided = self.told.get("undecided")
        if undecided is None:
            return ""
        facts = {name: said(undecided.get(name)) for name in ("worker", "since", "until")}
        elsewhere = undecided.get("elsewhere") and row_of(undecided, "elsewhere")
        if elsewhere:
            facts |= {"other": said(elsewhere.get("mode")), "other_worker": said(elsewhere.get("worker"))}
        sentence = _UNDECIDED.get(said(undecided.get("why")), "")
        return sentence.format(**facts, mode=self.mode, strategy=self.strategy_id)

    def as_json(self) -> dict[str, Any]:
        return {
            **self.told,
            "why": self.why,
            "stage": self.reason.stage if self.reason else None,
            "passing": asdict(self.passing) if self.passing else None,
        }

    def lines(self) -> Iterator[Part]:
        word = said(self.told.get("reason")) if self.reason is not None else ""
        yield Text.assemble(
            (self.strategy_id, "bold"), f" ({self.mode})  ", styled(self.state), f"  {word}".rstrip()
        )
        if self.why:
            yield line("why", self.why)
        yield from self._numbers()
        yield from self._deferral()
        yield from self._timeline()
        yield from self._order()
        for attempt in rows_of(self.told, "attempts"):
            yield from _attempt(attempt)
        if seen := {name: value for name, value in row_of(self.told, "snapshot").items() if value != ""}:
            yield line("saw", ", ".join(f"{name} {value}" for name, value in sorted(seen.items())))

    def _numbers(self) -> Iterator[Part]:
        would = self.passing
        if would is None:
            return
        if would.is_number:
            yield line("failed", f"{would.number}: {would.measured}")
            yield line("limit", said(would.limit))
        else:
            yield line("failed", f"{would.measured}: {would.number}")
        yield line("would pass", would.would_pass)
        if would.advice:
            yield line("to pass", would.advice)

    def _deferral(self) -> Iterator[Part]:
        told = self.told
        if self.state == "deferred":
            yield line(
                "asked again",
                f"at {moment(told.get('retry_at'))}, until {moment(told.get('expires_at'))}; {counted(told.get('tries'), 'try', 'tries')} so far",
            )
        for spell in rows_of(told, "history"):
            numbers = (
                f" ({said(spell.get('value'))}, limit {said(spell.get('limit'))})"
                if spell.get("value")
                else ""
            )
            yield line(
                "deferred",
                f"{said(spell.get('reason'))}{numbers}, {counted(spell.get('tries'), 'try', 'tries')}, until {clock_time(spell.get('until'))}",
            )

    def _timeline(self) -> Iterator[Part]:
        stages = rows_of(self.told, "timeline")
        if stages:
            heading = ("timeline", "UTC", "after", "since insert")
            shown = [
                (
                    text_of(one, "stage"),
                    clock_time(one.get("at")),
                    took(one.get("after_ms")),
                    took(one.get("since_insert_ms")),
                )
                for one in stages
            ]
            yield columns([heading, *shown], right=(2, 3))

    def _order(self) -> Iterator[Part]:
        order = self.told.get("order")
        if order is None:
            return
        spent = f"{usd(order.get('executed_size_usd'))} at {price(order.get('executed_price'))}, "
        # A sale is of shares, which its attempts tell: it bets nothing.
        asked = "sale" if order.get("side") == "SELL" else f"bet {usd(order.get('signal_size_usd'))}"
        yield line(
            "order",
            f"{said(order.get('status'))}: {spent if order.get('executed_price') else ''}"
            f"{asked} at {price(order.get('signal_price'))}, slippage "
            f"{said(order.get('slippage_bps'))} bps, outcome {said(order.get('outcome'))}"
            + (f"; {order['rejection_reason']}" if order.get("rejection_reason") else ""),
        )


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of one signal; `pairs` is empty where no strategy has to do with it."""

    asked: str
    now: str
    ft_order_ids: tuple[str, ...]
    signal: Row | None
    pairs: tuple[Pair, ...]
    followed: tuple[str, ...]

    @classmethod
    def of(cls, asked: str, answer: Row) -> Self:
        """Raises SchemaError."""
        return cls(
            asked=asked,
            now=text_of(answer, "now"),
            ft_order_ids=tuple(texts_of(answer, "ft_order_ids")),
            signal=None if answer.get("signal") is None else row_of(answer, "signal"),
            pairs=tuple(Pair.of(row) for row in rows_of(answer, "strategies")),
            followed=tuple(texts_of(answer, "followed")),
        )

    @property
    def found(self) -> bool:
        return len(self.ft_order_ids) == 1

    def as_json(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "found": self.found,
            "now": self.now,
            "ft_order_ids": list(self.ft_order_ids),
            "signal": self.signal,
            "strategies": [pair.as_json() for pair in self.pairs],
            "followed": list(self.followed),
        }

    def lines(self) -> Iterator[Part]:
        if not self.found:
            yield from self._not_found()
            return
        yield Text(f"signal {self.ft_order_ids[0]}", style="bold underline")
        yield from self._signal()
        if not self.pairs:
            wallet = said((self.signal or {}).get("wallet_id"))
            others = f"; active strategies follow {', '.join(self.followed)}" if self.followed else ""
            yield line("nobody", f"No strategy follows the paper wallet {wallet}{others}.")
        for pair in self.pairs:
            yield Text()
            yield from pair.lines()

    def _not_found(self) -> Iterator[Part]:
        if self.ft_order_ids:
            yield Text(f"{self.asked} may mean {len(self.ft_order_ids)} signals; give more of the id:")
            yield from (Text(f"  {one}") for one in self.ft_order_ids)
        else:
            yield Text(
                f"No signal, order or exchange order is known by {self.asked}: give an ft_orders.order_id, an "
                "lt_orders.lt_order_id or an exchange order id (0x...), whole or six digits of it or more.",
            )

    def _signal(self) -> Iterator[Part]:
        signal = self.signal
        if signal is None:
            yield line("gone", "The row of ft_orders was deleted; what was decided is kept.")
            return
        trade = f"{said(signal.get('side'))} {said(signal.get('token_label'))} at {price(signal.get('entry_price'))}"
        yield line("trade", f"{trade}, paper size {usd(signal.get('size'))}, {said(signal.get('outcome'))}")
        yield line("market", said(signal.get("market_title") or signal.get("condition_id")))
        trader = said(signal.get("trader_address"))[:_SHORT]
        yield line("follows", f"paper wallet {said(signal.get('wallet_id'))}, trader {trader}")
        inserted = signal.get("created_at")
        yield line("inserted", f"{moment(inserted)}, {since(inserted, self.now)}")


def _attempt(attempt: Row) -> Iterator[Part]:
    target = usd(attempt.get("amount_usd")) if attempt.get("amount_usd") else shares(attempt.get("shares"))
    yield line(
        f"attempt {said(attempt.get('attempt_no'))}",
        f"{said(attempt.get('state'))}: {said(attempt.get('order_type'))} {said(attempt.get('side'))} {target}, limit "
        f"{price(attempt.get('limit_price'))}, filled {shares(attempt.get('filled_shares'))}",
    )
    yield line("", said(attempt.get("exchange_order_id")))
    sent = clock_time(attempt.get("sent_at"))
    yield line(
        "",
        f"sent {sent} ({counted(attempt.get('sends'), 'time')}), answered {clock_time(attempt.get('answered_at'))}, "
        f"{counted(attempt.get('lookups'), 'look-up')} ({said(attempt.get('not_found'))} not found), by {said(attempt.get('worker'))}",
    )
    if attempt.get("note"):
        yield line("", f"note: {attempt['note']}")
    for fill in rows_of(attempt, "fills"):
        yield line(
            "fill",
            f"{said(fill.get('state'))}: {shares(fill.get('shares'))} at {price(fill.get('price'))}, fee "
            f"{usd(fill.get('fee_usd'))}, booked {clock_time(fill.get('booked_at'))}",
        )


async def read_story(reports: Reports, asked: str) -> Story:
    """Raises what `Reports` raises."""
    return Story.of(asked, await reports.explain(asked))
