"""How trading stands, as the database sees it: who trades, what is switched off, what is open, what needs a human."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from rich.text import Text

from worker.database.reports import Reports
from worker.database.values import Row, count_of, flag_of, row_of, rows_of, text_of, texts_of
from worker.errors import ExitCode
from worker.verbs.words import Part, columns, counted, line, moment, said, seconds, since, styled, usd

_ABOUT_ORDERS = frozenset({"order_unknown", "order_stuck", "order_lost", "fill_late"})
_LATCHED = frozenset({"killed", "breaker"})


@dataclass(frozen=True, slots=True)
class Standing:
    """`answer`: of `lt_status`."""

    answer: Row
    strategies: tuple[Row, ...]
    needs_human: tuple[Row, ...]

    @classmethod
    def of(cls, answer: Row) -> Self:
        """Raises SchemaError."""
        return cls(answer, tuple(rows_of(answer, "strategies")), tuple(rows_of(answer, "needs_human")))

    @property
    def exit_code(self) -> ExitCode:
        """What a script learns: an order needs a human, a switch is latched, another problem, or none."""
        found = {text_of(one, "what") for one in self.needs_human}
        if found & _ABOUT_ORDERS:
            return ExitCode.NEEDS_HUMAN
        if found & _LATCHED:
            return ExitCode.KILLED
        return ExitCode.USAGE if found else ExitCode.OK

    def as_json(self) -> dict[str, Any]:
        return dict(self.answer)

    def lines(self) -> Iterator[Part]:
        answer = self.answer
        yield Text.assemble(
            (f"{text_of(answer, 'mode')} mode  ", "bold"),
            styled(text_of(answer, "standing")),
            f"  {moment(answer.get('now'))}",
        )
        # First, where a screen that is too small still shows it.
        yield from self._human(answer.get("now"))
        yield Text()
        hour, feed = row_of(answer, "last_hour"), row_of(answer, "feed")
        yield line(
            "last hour",
            f"{counted(count_of(hour, 'seen'), 'pair')} seen = {count_of(hour, 'executed')} executed + {count_of(hour, 'skipped')} skipped + "
            f"{count_of(hour, 'deferred')} deferred + {count_of(hour, 'undecided')} undecided, {count_of(hour, 'missed')} missed",
        )
        yield line("orders", open_orders(row_of(answer, "attempts")))
        yield line(
            "feed",
            f"last canary {_ago(feed.get('canary_age_s'))}, last decision {_ago(feed.get('last_decision_age_s'))}; "
            f"{count_of(answer, 'deferred')} deferred now",
        )
        yield Text()
        yield from self._strategies()
        yield from self._wallets()
        yield from self._controls()

    def _strategies(self) -> Iterator[Part]:
        if not self.strategies:
            yield line("strategies", "None is active: activate one in lt_strategies.")
            return
        heading = (
            "strategy",
            "mode",
            "stands",
            "open",
            "available",
            "locked",
            "cooling",
            "realised",
            "today",
        )
        rows = []
        for one in self.strategies:
            capital = row_of(one, "capital")
            money = [
                usd(capital.get(f"{name}_usd"))
                for name in ("available", "locked", "cooldown", "realised", "realised_today")
            ]
            rows.append(
                (
                    text_of(one, "strategy_id"),
                    text_of(one, "mode"),
                    text_of(one, "standing"),
                    str(count_of(one, "open_orders")),
                    *money,
                )
            )
        yield columns([heading, *rows], right=range(3, 9))
        yield Text()

    def _wallets(self) -> Iterator[Part]:
        leases = {
            (text_of(one, "wallet_address"), text_of(one, "mode")): one
            for one in rows_of(self.answer, "leases")
        }
        balances = {
            (text_of(one, "wallet_address"), text_of(one, "mode")): one
            for one in rows_of(self.answer, "wallets")
        }
        rows = []
        for key in sorted(leases.keys() | balances.keys()):
            lease, balance = leases.get(key), balances.get(key, {})
            held = lease is not None and flag_of(lease, "held")
            rows.append(
                (
                    *key, usd(balance.get("collateral_usd")), _ago(balance.get("age_s")),
                    said(lease and lease.get("worker")) if held else "nobody",
                )
            )  # fmt: skip
        if rows:
            yield columns([("wallet", "mode", "balance", "seen", "worker"), *rows], right=(2, 3))
            yield Text()

    def _controls(self) -> Iterator[Part]:
        for one in rows_of(self.answer, "controls"):
            yield line(
                text_of(one, "action"),
                f"{text_of(one, 'scope')}: {said(one.get('reason'))} ({said(one.get('actor'))}, "
                f"{since(one.get('created_at'), self.answer.get('now'))})",
            )

    def _human(self, now: object) -> Iterator[Part]:
        if not self.needs_human:
            yield line("human", "nothing needs you")
            return
        yield Text("  needs a human", style="bold red")
        for one in self.needs_human:
            when = f", {since(one.get('since'), now)}" if one.get("since") else ""
            yield line(
                text_of(one, "what"), f"{said(one.get('thing'))}{when}: {said(one.get('why'))}", indent=4
            )
            yield line("", f"-> {said(one.get('fix'))}", indent=4)


def elsewhere_lines(answer: Row) -> Iterator[Part]:
    """Who trades in the other mode than the one that was asked about, and how to ask about that one."""
    for other in rows_of(answer, "elsewhere"):
        names, mode = ", ".join(texts_of(other, "strategies")), text_of(other, "mode")
        yield line(
            "other mode",
            f"worker {text_of(other, 'worker')} trades {names} in {mode} mode, and these settings ask about "
            f"{text_of(answer, 'mode')} mode: ask with POLYCOPY_MODE={mode}, or --config with its settings",
        )


def open_orders(attempts: Row) -> str:
    """What may still trade, and what is over while trades of it are still to be read, each with the age of its oldest.

    `attempts`: of `lt_status`.
    """
    still_open, unbooked = count_of(attempts, "open"), count_of(attempts, "unbooked")
    told = (
        f"{counted(still_open, 'order is', 'orders are')} open, {count_of(attempts, 'unknown')} of unknown outcome, "
        f"{_oldest(attempts, 'oldest_open_s')}"
        if still_open
        else "no order is open"
    )
    if not unbooked:
        return told
    over = counted(unbooked, "that is over has trades to be read", "that are over have trades to be read")
    return f"{told}; {over}, {_oldest(attempts, 'oldest_unbooked_s')}"


def _oldest(attempts: Row, name: str) -> str:
    return f"the oldest for {seconds(attempts.get(name))}"


def _ago(age_s: object) -> str:
    return "never" if age_s is None else f"{seconds(age_s)} ago"


async def read_standing(reports: Reports) -> Standing:
    """Raises what `Reports` raises."""
    return Standing.of(await reports.status())
