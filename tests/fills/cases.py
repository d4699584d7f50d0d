"""Every way in which an order of ours can trade, with what it must come to: worked out by hand, in the comments.

Of every case: the trader pays $0.50 a share (`entry_price` 0.5015, with the paper markup), slippage of 3 % allows $0.51,
the strategy has $1,000 and cools down what comes back. A taker pays 0.05 x p x (1 - p) a share, a maker nothing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.fills.scene import Scene
from worker.sandbox.exchange.trades import Fate


@dataclass(frozen=True, slots=True)
class Booked:
    """One row of `lt_fills`."""

    role: str
    shares: str
    price: str
    fee_usd: str
    state: str = "final"


@dataclass(frozen=True, slots=True)
class Row:
    """The row of `lt_orders`, in the platform's words. Slippage in basis points of the base price, worse is more."""

    status: str
    outcome: str = "OPEN"
    average_price: str | None = None
    spent_usd: str | None = None  # to the cent, without fees
    shares: str | None = None
    fill_rate: str | None = None
    slippage_bps: str | None = None
    pnl_usd: str | None = None


@dataclass(frozen=True, slots=True)
class Money:
    """Capital of the strategy, and by how much the wallet's own dollars at the exchange have changed."""

    locked: str
    available: str
    wallet: str
    realised: str = "0"
    cooldown: str = "0"


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    play: Callable[[Scene], Awaitable[None]]
    fills: tuple[Booked, ...]
    order: Row
    money: Money
    order_type: str = "FAK"
    bet_usd: str = "52.50"  # with the most that the fee can come to: $50.00 of shares, $2.50
    alarms: tuple[str, ...] = ()


# A GTC of so much asks for 100 shares: 52.25 / (0.51 + 0.05 x 0.51 x 0.49) = 52.25 / 0.522495 = 100.0009...
FOR_100_SHARES = "52.25"


# --- what happens


async def is_taken(scene: Scene) -> None:
    scene.offer("0.50", "1000")
    await scene.order()


async def is_taken_and_retried(scene: Scene) -> None:
    scene.fate(lambda _: Fate.RETRIES)
    await is_taken(scene)


async def walks_the_book(scene: Scene) -> None:
    for price, shares in (("0.48", "25"), ("0.49", "40"), ("0.50", "1000")):
        scene.offer(price, shares)
    await scene.order()


async def takes_what_does_not_divide(scene: Scene) -> None:
    scene.offer("0.51", "1000")
    await scene.order()


async def fails(scene: Scene) -> None:
    scene.fate(lambda _: Fate.FAILS)
    await is_taken(scene)


async def fails_in_part(scene: Scene) -> None:
    scene.fate(lambda trade: Fate.FAILS_AFTER_RETRY if trade.price == 4900 else Fate.SETTLES)
    scene.offer("0.49", "40")
    scene.offer("0.50", "1000")
    await scene.order()


async def is_met(scene: Scene) -> None:
    await scene.order()
    scene.offer("0.50", "1000")  # somebody sells at 0.50 or better, and meets our bid of 0.51 first


async def is_met_by_a_buyer_of_the_other_outcome(scene: Scene) -> None:
    await scene.order()
    scene.bid_for_the_other("0.49", "100")


async def is_met_but_for_dust(scene: Scene) -> None:
    await scene.order()
    scene.offer("0.51", "99.995")
    await scene.booked("99.995")
    await scene.cancel()


async def is_cancelled_in_part(scene: Scene) -> None:
    scene.offer("0.50", "30")
    await scene.order()
    scene.offer("0.51", "20")
    await scene.booked("50")
    await scene.cancel()


async def is_filled_before_its_cancellation(scene: Scene) -> None:
    await scene.order()
    await scene.call_off(and_meanwhile=lambda: scene.offer("0.51", "100"))


async def is_filled_when_it_was_given_up(scene: Scene) -> None:
    await scene.order()
    scene.hide()
    await scene.is_in("lost")
    scene.offer("0.51", "30")
    scene.show()
    await scene.is_in("cancelled")


async def ends_before_it_is_settled(scene: Scene) -> None:
    scene.fate(lambda _: Fate.STUCK)
    await is_taken(scene)
    await scene.booked("100")
    scene.resolve()
    await scene.settle_markets()
    await scene.still("OPEN")
    scene.goes_on(Fate.SETTLES)
    await scene.all_final()
    await scene.settle_markets()


async def ends_before_it_fails(scene: Scene) -> None:
    scene.fate(lambda _: Fate.STUCK)
    await is_taken(scene)
    await scene.booked("100")
    scene.resolve()
    await scene.settle_markets()
    scene.goes_on(Fate.FAILS)
    await scene.all_final()
    await scene.settle_markets()


async def ends_lost(scene: Scene) -> None:
    await is_taken(scene)
    await scene.all_final()
    scene.resolve(won=False)
    await scene.settle_markets()


async def ends_for_nobody(scene: Scene) -> None:
    await walks_the_book(scene)
    await scene.all_final()
    scene.void()
    await scene.settle_markets()


async def is_taken_beside_a_human(scene: Scene) -> None:
    await is_taken(scene)
    await scene.trade_by_hand("10.50")


async def is_sold_again(scene: Scene) -> None:
    scene.offer("0.50", "100")
    await scene.order()
    await scene.all_final()
    scene.bid("0.55", "100")
    await scene.sell()


# --- what it comes to

CASES = (
    Case(
        "a taker",
        is_taken,
        # $50.00 / 0.50 = 100 shares. Fee 100 x 0.05 x 0.50 x 0.50 = 1.25.
        fills=(Booked("TAKER", "100", "0.50", "1.25"),),
        order=Row("FILLED", "OPEN", "0.50", "50.00", "100", "1", "0"),
        # 1000 - 51.25
        money=Money(locked="51.25", available="948.75", wallet="-51.25"),
    ),
    Case(
        "a trade that is retried before it is confirmed",
        is_taken_and_retried,
        fills=(Booked("TAKER", "100", "0.50", "1.25"),),
        order=Row("FILLED", "OPEN", "0.50", "50.00", "100", "1", "0"),
        money=Money(locked="51.25", available="948.75", wallet="-51.25"),
    ),
    Case(
        "several trades at prices that are better",
        walks_the_book,
        # 25 x 0.48 = 12.00, 40 x 0.49 = 19.60, and for the 18.40 that are left 18.40 / 0.50 = 36.8 shares.
        # Fees: 25 x 0.05 x 0.48 x 0.52 = 0.312; 40 x 0.05 x 0.49 x 0.51 = 0.4998; 36.8 x 0.0125 = 0.46.
        fills=(
            Booked("TAKER", "25", "0.48", "0.312"),
            Booked("TAKER", "40", "0.49", "0.4998"),
            Booked("TAKER", "36.8", "0.50", "0.46"),
        ),
        # 50.00 / 101.8 = 0.491159; (0.491159.. / 0.50 - 1) x 10,000 = -176.8
        order=Row("FILLED", "OPEN", "0.491159", "50.00", "101.8", "1", "-177"),
        # 50.00 + 0.312 + 0.4998 + 0.46 = 51.2718
        money=Money(locked="51.2718", available="948.7282", wallet="-51.2718"),
    ),
    Case(
        "dollars that do not divide into shares",
        takes_what_does_not_divide,
        # 50.00 / 0.51 = 98.039215(6..) shares: the exchange cuts off after six places.
        # Fee 98.039215 x 0.05 x 0.51 x 0.49 = 1.2249999.., to five places 1.22500.
        fills=(Booked("TAKER", "98.039215", "0.51", "1.225"),),
        # 98.039215 x 0.51 = 49.99999965: as good as filled. (0.51 / 0.50 - 1) x 10,000 = 200
        order=Row("FILLED", "OPEN", "0.51", "50.00", "98.039215", "1", "200"),
        # 49.99999965 + 1.225; the wallet pays whole millionths of a dollar, cut off: 49.999999 + 1.225.
        money=Money(locked="51.22499965", available="948.77500035", wallet="-51.224999"),
    ),
    Case(
        "a trade that FAILED after it had matched",
        fails,
        fills=(Booked("TAKER", "100", "0.50", "1.25", "reversed"),),
        order=Row("CANCELLED", "CANCELLED", fill_rate="0"),
        money=Money(locked="0", available="1000", wallet="0"),
    ),
    Case(
        "one of two trades FAILED after it had matched",
        fails_in_part,
        # 40 x 0.49 = 19.60 fail. 30.40 / 0.50 = 60.8 shares stay, fee 60.8 x 0.0125 = 0.76.
        fills=(
            Booked("TAKER", "40", "0.49", "0.4998", "reversed"),
            Booked("TAKER", "60.8", "0.50", "0.76"),
        ),
        # 30.40 / 50.00 = 0.608
        order=Row("PARTIAL", "OPEN", "0.50", "30.40", "60.8", "0.608", "0"),
        # 30.40 + 0.76
        money=Money(locked="31.16", available="968.84", wallet="-31.16"),
    ),
    Case(
        "a maker, met by somebody who sells the same outcome",
        is_met,
        # At our own price, without a fee.
        fills=(Booked("MAKER", "100", "0.51", "0"),),
        order=Row("FILLED", "OPEN", "0.51", "51.00", "100", "1", "200"),
        money=Money(locked="51", available="949", wallet="-51"),
        order_type="GTC",
        bet_usd=FOR_100_SHARES,
    ),
    Case(
        "a maker, met by somebody who buys the other outcome",
        is_met_by_a_buyer_of_the_other_outcome,
        # The trade is told with his price, 0.49, and his token. Ours is 1 - 0.49 = 0.51, as we had bid.
        fills=(Booked("MAKER", "100", "0.51", "0"),),
        order=Row("FILLED", "OPEN", "0.51", "51.00", "100", "1", "200"),
        money=Money(locked="51", available="949", wallet="-51"),
        order_type="GTC",
        bet_usd=FOR_100_SHARES,
    ),
    Case(
        "a maker that is filled but for dust, and cancelled",
        is_met_but_for_dust,
        fills=(Booked("MAKER", "99.995", "0.51", "0"),),
        # 99.995 x 0.51 = 50.99745. Half a hundredth of a share is missing: filled. 0.99995 in four places is 1.
        order=Row("FILLED", "OPEN", "0.51", "51.00", "99.995", "1", "200"),
        money=Money(locked="50.99745", available="949.00255", wallet="-50.99745"),
        order_type="GTC",
        bet_usd=FOR_100_SHARES,
    ),
    Case(
        "a taker in part, a maker in part, and then cancelled",
        is_cancelled_in_part,
        # On arrival 30 x 0.50 = 15.00, fee 30 x 0.0125 = 0.375. On the book 20 x 0.51 = 10.20.
        fills=(Booked("TAKER", "30", "0.50", "0.375"), Booked("MAKER", "20", "0.51", "0")),
        # 25.20 / 50 = 0.504; (0.504 / 0.50 - 1) x 10,000 = 80; 50 of 100 shares
        order=Row("PARTIAL", "OPEN", "0.504", "25.20", "50", "0.5", "80"),
        # 25.20 + 0.375
        money=Money(locked="25.575", available="974.425", wallet="-25.575"),
        order_type="GTC",
        bet_usd=FOR_100_SHARES,
    ),
    Case(
        "a cancellation that is refused because the order is filled",
        is_filled_before_its_cancellation,
        fills=(Booked("MAKER", "100", "0.51", "0"),),
        order=Row("FILLED", "OPEN", "0.51", "51.00", "100", "1", "200"),
        money=Money(locked="51", available="949", wallet="-51"),
        order_type="GTC",
        bet_usd=FOR_100_SHARES,
    ),
    Case(
        "a fill of an order that was given up, which is then called off",
        is_filled_when_it_was_given_up,
        # 30 x 0.51 = 15.30 of an order whose money had been given out again.
        fills=(Booked("MAKER", "30", "0.51", "0"),),
        order=Row("PARTIAL", "OPEN", "0.51", "15.30", "30", "0.3", "200"),
        money=Money(locked="15.30", available="984.70", wallet="-15.30"),
        order_type="GTC",
        bet_usd=FOR_100_SHARES,
        alarms=("order.outcome_unknown", "order.lost", "order.called_off", "fill.late"),
    ),
    Case(
        "a market that is won before its trade is settled",
        ends_before_it_is_settled,
        fills=(Booked("TAKER", "100", "0.50", "1.25"),),
        # 100 shares pay 100.00 for 51.25.
        order=Row("FILLED", "WON", "0.50", "50.00", "100", "1", "0", pnl_usd="48.75"),
        # Available: 1000 + 48.75 - 100 that cool down.
        money=Money(locked="0", realised="48.75", cooldown="100", available="948.75", wallet="-51.25"),
    ),
    Case(
        "a market that is won before its trade fails",
        ends_before_it_fails,
        fills=(Booked("TAKER", "100", "0.50", "1.25", "reversed"),),
        order=Row("CANCELLED", "CANCELLED", fill_rate="0"),
        money=Money(locked="0", available="1000", wallet="0"),
    ),
    Case(
        "a market that is lost",
        ends_lost,
        fills=(Booked("TAKER", "100", "0.50", "1.25"),),
        order=Row("FILLED", "LOST", "0.50", "50.00", "100", "1", "0", pnl_usd="-51.25"),
        money=Money(locked="0", realised="-51.25", available="948.75", wallet="-51.25"),
    ),
    Case(
        "a market that nobody won",
        ends_for_nobody,
        fills=(
            Booked("TAKER", "25", "0.48", "0.312"),
            Booked("TAKER", "40", "0.49", "0.4998"),
            Booked("TAKER", "36.8", "0.50", "0.46"),
        ),
        # 101.8 shares pay 50.90, and had cost 51.2718: -0.3718, so it is lost, by 37 cents.
        order=Row("FILLED", "LOST", "0.491159", "50.00", "101.8", "1", "-177", pnl_usd="-0.37"),
        # Available: 1000 - 0.3718 - 50.90 that cool down.
        money=Money(
            locked="0", realised="-0.3718", cooldown="50.90", available="948.7282", wallet="-51.2718"
        ),
    ),
    Case(
        "a trade that a human makes with the same wallet, of the same token",
        is_taken_beside_a_human,
        # It is nobody's: $10.00 / 0.50 = 20 shares, with a fee of 20 x 0.0125 = 0.25, are in no book of a strategy.
        fills=(Booked("TAKER", "100", "0.50", "1.25"),),
        order=Row("FILLED", "OPEN", "0.50", "50.00", "100", "1", "0"),
        # The wallet paid 51.25 and 10.25.
        money=Money(locked="51.25", available="948.75", wallet="-61.50"),
    ),
    Case(
        "a purchase that is sold again",
        is_sold_again,
        # Fee of the sale: 100 x 0.05 x 0.55 x 0.45 = 1.2375.
        fills=(Booked("TAKER", "100", "0.50", "1.25"), Booked("TAKER", "100", "0.55", "1.2375")),
        # Of the sale: (0.55 / 0.50 - 1) x 10,000 = 1000, and for who sells that is better.
        order=Row("FILLED", "OPEN", "0.55", "55.00", "100", "1", "-1000"),
        # 55.00 - 1.2375 = 53.7625 come back, and cool down; 53.7625 - 51.25 = 2.5125 are made.
        money=Money(locked="0", realised="2.5125", cooldown="53.7625", available="948.75", wallet="2.5125"),
    ),
)
