"""A random walk of two accounts, paper and live, of one strategy: claims, fills, sales, resolutions, crashes.

After each step every number that SQL tells is compared with the model, in exact decimals, and with SQL's own sums from
zero; the account that was not moved must not have moved. What differs is an AssertionError that names seed and step.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from tests.database.capital_model import ZERO, Book, BookedFill, Order, Sent
from tests.support.desk import WALLET, Desk, Row, fill

_INITIAL = Decimal("1000000.00")
_OVER = {"cancelled", "expired", "matched", "killed"}
_TRADERS = {"paper": "0x" + "7a" * 20, "live": "0x" + "7b" * 20}
# By side, and whether it is a further attempt.
_REFUSED = {
    ("BUY", False): frozenset[str](),
    ("BUY", True): frozenset({"already_executed"}),
    ("SELL", False): frozenset({"position_unsettled"}),
}


class Walk:
    """One database, one seed."""

    def __init__(self, dsn: str, desk: Desk, seed: int) -> None:
        self._dsn = dsn
        self._desk = desk
        self._seed = seed
        self._dice = random.Random(seed)
        self._books = {mode: Book(_INITIAL) for mode in ("paper", "live")}
        self._winners: dict[int, int] = {}
        self._states: dict[str, str] = {}
        self.taken: Counter[str] = Counter()

    @classmethod
    async def begin(cls, dsn: str, seed: int) -> "Walk":
        desk = await Desk.open(dsn)
        await desk.strategy(initial_capital=_INITIAL, max_order_size_usd=None)
        await desk.ready()
        await desk.execute("insert into public.lt_wallets values (%(w)s, 'live', 9e9, now())", w=WALLET)
        await desk.execute("update public.lt_wallets set collateral_usd = 9e9")
        return cls(dsn, desk, seed)

    async def end(self) -> None:
        await self._desk.close()

    async def steps(self, number: int) -> None:
        moves: list[Callable[[], Awaitable[bool]]] = [
            *[self.buys] * 5,
            *[self.is_filled] * 6,
            *[self.settles] * 6,
            *[self.is_over] * 4,
            self.reverses,
            self.retakes,
            *[self.sells] * 3,
            self.fills_late,
            *[self.the_market_ends] * 2,
            *[self.the_platform_resolves] * 2,
            self.is_told_again,
            self.is_resolved_again,
            self.crashes,
            self.is_checkpointed,
            self.cools_down,
            self.redeems,
            self.redemption_changes,
        ]
        for step in range(number):
            move = self._dice.choice(moves)
            self._desk.mode = self._dice.choice(("paper", "live"))
            if await move():
                self.taken[move.__name__] += 1
                await self._compare(f"seed {self._seed}, step {step}: {self._desk.mode} {move.__name__}")

    # --- the moves: each says whether there was anything to do

    async def buys(self) -> bool:
        token = self._dice.choice(self._open_tokens())
        bet = Decimal(self._dice.randrange(100, 2000)) / 100
        reserve = bet + Decimal(self._dice.randrange(50)) / 100
        answer = await self._claim(token, "BUY", {"amount_usd": str(bet), "reserve_usd": str(reserve)})
        assert answer is not None
        self._sent(
            answer, Order(answer["lt_order_id"], answer["ft_order_id"], token, "BUY", bet), reserve, ZERO
        )
        return True

    async def sells(self) -> bool:
        sellable = {token: self._book.sellable_shares(token) for token in self._open_tokens()}
        tokens = [token for token, shares in sellable.items() if shares >= 1]
        if not tokens:
            return False
        token = self._dice.choice(tokens)
        for attempt in (a for o in self._book.of_token(token) if o.side == "BUY" for a in o.attempts):
            if not attempt.closed:  # the sale would wait for it
                await self._record(attempt, "cancelled", closed=True)
                attempt.closed = True
        shares = min(sellable[token], Decimal(self._dice.randrange(100, 1500)) / 100)
        order = {"amount_usd": None, "shares": str(shares), "reserve_usd": "0", "reserve_shares": str(shares)}
        answer = await self._claim(token, "SELL", order | {"limit_price": "0.1"})
        if answer is None:
            return False
        self._sent(answer, Order(answer["lt_order_id"], answer["ft_order_id"], token, "SELL"), ZERO, shares)
        return True

    async def retakes(self) -> bool:
        ready = [
            order
            for order in self._book.orders
            if order.side == "BUY"
            and not order.is_alive
            and order.payout is None
            and self._is_open(order.token)
        ]
        if not ready:
            return False
        order = self._dice.choice(ready)
        reserve = order.left_usd
        spend = {"amount_usd": str(order.left_usd), "reserve_usd": str(reserve)}
        answer = await self._claim(order.token, "BUY", spend, again=order)
        if answer is None:
            return False
        self._sent(answer, order, reserve, ZERO)
        return True

    async def is_filled(self) -> bool:
        return await self._fills(closed=False)

    async def fills_late(self) -> bool:
        return await self._fills(closed=True)

    async def settles(self) -> bool:
        return await self._moves_fill("final")

    async def reverses(self) -> bool:
        return await self._moves_fill("reversed")

    async def is_over(self) -> bool:
        alive = [a for order in self._book.orders for a in order.attempts if not a.closed]
        if not alive:
            return False
        attempt = self._dice.choice(alive)
        await self._record(attempt, self._dice.choice(sorted(_OVER)), closed=True)
        attempt.closed = True
        return True

    async def the_market_ends(self) -> bool:
        """The worker's own settlement: all of a market, or whatever of it has come to rest."""
        market = self._dice.randrange(4) if self._dice.random() < 0.3 else self._dice.choice(self._markets())
        winner = self._winner(market)
        settled = await self._desk.call(
            "lt_settle_market",
            {
                "mode": self._desk.mode,
                "condition_id": _condition(market),
                "winning_token_id": _token_id(winner),
                "winning_label": "Yes",
            },
        )
        count = 0
        for token in (2 * market, 2 * market + 1):
            orders = [
                o for o in self._book.of_token(token) if o.payout is None and (o.is_alive or o.standing())
            ]
            if all(order.is_settled for order in orders):
                count += len(orders)
                for order in orders:
                    order.payout = int(token == winner)
        assert settled["won"] + settled["lost"] == count
        return count > 0

    async def the_platform_resolves(self) -> bool:
        """Its resolver updates one row, whatever its fills are, and computes a pnl of its own."""
        ready = [order for order in self._book.orders if order.payout is None and order.standing()]
        if not ready:
            return False
        order = self._dice.choice(ready)
        payout = int(order.token == self._winner(order.token // 2))
        await self._resolve(order, payout)
        self._book.end(order, payout)
        return True

    async def is_resolved_again(self) -> bool:
        ended = [order for order in self._book.orders if order.payout is not None]
        if not ended:
            return False
        order = self._dice.choice(ended)
        await self._resolve(order, order.payout or 0)
        return True

    async def is_told_again(self) -> bool:
        told = [a for order in self._book.orders for a in order.attempts if a.fills]
        if not told:
            return False
        attempt = self._dice.choice(told)
        again = [self._row(attempt, booked) for booked in attempt.fills]
        answer = await self._record(
            attempt, self._states[attempt.order_id], closed=attempt.closed, fills=again
        )
        assert not answer["changed"]
        return True

    async def crashes(self) -> bool:
        """The connection is gone in the middle of a transaction that had moved money."""
        found = self._any_fill_place(closed=self._dice.random() < 0.5)
        if found is None:
            return False
        _, attempt = found
        booked = self._new_fill(attempt)
        if booked.shares <= 0:
            return False
        doomed = await Desk.open(self._dsn, mode=self._desk.mode)
        await doomed.connection.set_autocommit(False)
        await doomed.record(
            attempt.order_id, self._states[attempt.order_id], fills=[self._row(attempt, booked)]
        )
        await doomed.call("lt_checkpoint", {"least": 1})
        await doomed.close()
        return True

    async def is_checkpointed(self) -> bool:
        return bool((await self._desk.call("lt_checkpoint", {"least": 1, "most": 7}))["written"])

    async def cools_down(self) -> bool:
        cools = self._dice.random() < 0.7
        await self._desk.execute(
            "update public.lt_strategies set cooldown_hours = %(h)s", h=3 if cools else 0
        )
        for book in self._books.values():
            book.cools = cools
        return True

    async def redeems(self) -> bool:
        market = self._dice.choice(self._markets())
        await self._desk.call(
            "lt_redeemed",
            {
                "wallet_address": WALLET,
                "condition_id": _condition(market),
                "redeemed_at": "2026-11-22T00:00:00Z",
                "reference": "0xredeemed",
            },
        )
        for order in self._books["live"].orders:
            order.redeemed = order.redeemed or order.token // 2 == market
        return True

    async def redemption_changes(self) -> bool:
        book = self._books["live"]
        book.awaits_redemption = not book.awaits_redemption
        who = "recorded" if book.awaits_redemption else "platform"
        await self._desk.execute("update public.lt_config set value = %(w)s where key = 'redemption'", w=who)
        return True

    # --- how they are made

    @property
    def _book(self) -> Book:
        return self._books[self._desk.mode]

    def _markets(self) -> list[int]:
        """The four newest markets: as one ends, the next one opens."""
        first = len(self._winners)
        return list(range(max(first - 2, 0), first + 2))

    def _open_tokens(self) -> list[int]:
        return [
            token
            for market in self._markets()
            for token in (2 * market, 2 * market + 1)
            if self._is_open(token)
        ]

    def _is_open(self, token: int) -> bool:
        return token // 2 not in self._winners

    def _winner(self, market: int) -> int:
        return self._winners.setdefault(market, 2 * market + self._dice.randrange(2))

    async def _claim(self, token: int, side: str, order: Row, *, again: Order | None = None) -> Row | None:
        # A trader for each mode: what one account has not bought, the sales of the other do not wait for.
        told = {"side": side, "condition_id": _condition(token // 2), "token_label": f"token {token}"}
        ft_order_id = (
            again.ft_order_id
            if again
            else await self._desk.signal(**told, trader_address=_TRADERS[self._desk.mode])
        )
        await self._desk.execute("update public.lt_leases set mode = %(m)s", m=self._desk.mode)
        answer = await self._desk.claim(
            ft_order_id,
            expected=told,
            order={"side": side, "token_id": _token_id(token)} | order,
            **({"lt_order_id": again.lt_order_id} if again else {}),
        )
        if not answer["granted"]:
            # What the claim rightly refuses moves no money: a sale before every purchase is over, what goes too far.
            assert answer["reason"] in _REFUSED[side, again is not None], answer
            return None
        return answer | {"ft_order_id": ft_order_id}

    def _sent(self, answer: Row, order: Order, reserve_usd: Decimal, reserve_shares: Decimal) -> None:
        if not order.attempts:
            self._book.orders.append(order)
        order.attempts.append(Sent(answer["exchange_order_id"], order.side, reserve_usd, reserve_shares))
        self._states[answer["exchange_order_id"]] = "submitting"

    def _any_fill_place(self, *, closed: bool) -> tuple[Order, Sent] | None:
        places = [(o, a) for o in self._book.orders for a in o.attempts if a.closed == closed]
        return self._dice.choice(places) if places else None

    def _new_fill(self, attempt: Sent) -> BookedFill:
        shares = Decimal(self._dice.randrange(1, 1500)) / 100
        if attempt.side == "SELL":
            left = attempt.reserve_shares - sum((booked.shares for booked in attempt.standing()), ZERO)
            shares = min(shares, left)
        price = Decimal(self._dice.randrange(200, 800)) / 1000
        fee = Decimal(self._dice.randrange(200)) / 10_000
        return BookedFill(f"t{self._dice.getrandbits(64):x}", attempt.side, price, shares, fee)

    async def _fills(self, *, closed: bool) -> bool:
        found = self._any_fill_place(closed=closed)
        if found is None:
            return False
        order, attempt = found
        booked = self._new_fill(attempt)
        if booked.shares <= 0:
            return False
        had_come_to_nothing = not (order.is_alive or order.standing())
        state = self._states[attempt.order_id]
        await self._record(
            attempt, "live" if state == "submitting" else state, fills=[self._row(attempt, booked)]
        )
        self._book.book(order, attempt, booked)
        if had_come_to_nothing and order.payout is None:
            self._book.returns(order)
        return True

    async def _moves_fill(self, state: str) -> bool:
        moving = [
            (attempt, booked)
            for order in self._book.orders
            for attempt in order.attempts
            for booked in attempt.fills
            if booked.state == "provisional"
        ]
        if not moving:
            return False
        attempt, booked = self._dice.choice(moving)
        booked.state = state
        await self._record(attempt, self._states[attempt.order_id], fills=[self._row(attempt, booked)])
        return True

    async def _record(self, attempt: Sent, state: str, **keys: Any) -> Row:
        self._states[attempt.order_id] = state
        return await self._desk.record(attempt.order_id, state, **keys)

    def _row(self, attempt: Sent, booked: BookedFill) -> Row:
        return fill(
            str(booked.shares),
            str(booked.price),
            trade_id=booked.trade_id,
            side=attempt.side,
            token_id=_token_id(self._order_of(attempt).token),
            fee_usd=str(booked.fee_usd),
            state=booked.state,
        )

    def _order_of(self, attempt: Sent) -> Order:
        return next(
            order for book in self._books.values() for order in book.orders if attempt in order.attempts
        )

    async def _resolve(self, order: Order, payout: int) -> None:
        await self._desk.execute(
            "update public.lt_orders set outcome = %(o)s, winning_label = 'Yes', pnl = 123.45, resolved_at = now(),"
            " updated_at = now() where lt_order_id = %(id)s",
            o="WON" if payout else "LOST",
            id=order.lt_order_id,
        )

    # --- what is compared

    async def _compare(self, moment: str) -> None:
        for mode, book in self._books.items():
            told = (await self._desk.call("lt_capital", {"mode": mode, "strategy_id": "LT_ONE"}))["capital"]
            expected = book.look()
            found = {name: Decimal(told[name]) for name in expected}
            apart = {
                name: f"{found[name]} not {expected[name]}" for name in found if found[name] != expected[name]
            }
            assert not apart, f"{moment}: {mode}: {apart}"
            assert (
                found["available_usd"]
                + found["locked_usd"]
                + found["cooldown_usd"]
                + found["awaiting_redeem_usd"]
                == found["initial_usd"] + found["realised_usd"]
            ), f"{moment}: {mode}"
        for row in await self._desk.rows(
            "select n.mode, n.locked_usd = z.locked_usd and n.realised_usd = z.realised_usd"
            " and n.fees_usd = z.fees_usd and n.realised_today_usd = z.realised_today_usd as agree"
            " from public.lt_capital_now n join public.lt_capital_recomputed z using (strategy_id, mode)"
        ):
            assert row["agree"], f"{moment}: {row['mode']} from zero"


def _condition(market: int) -> str:
    return f"0x{market:064x}"


def _token_id(token: int) -> str:
    return str(10**70 + token)
