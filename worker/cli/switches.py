"""The verbs that stop trading and let it go on: pause, resume, kill, arm. A switch holds in live and paper mode alike."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.door import ACT, Config, Json, app, ask, look, need_somebody, show_json, show_lines
from worker.observe import log
from worker.orders.terms import StrategyId, WalletAddress
from worker.settings import load_settings

if TYPE_CHECKING:
    from worker.verbs.switches import Order

Strategy = Annotated[
    str | None, typer.Option(metavar="ID", help="For this strategy alone. Default: everything.")
]
Wallet = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="For all strategies that trade with this wallet. Default: everything."
    ),
]
Reason = Annotated[
    str,
    typer.Option(
        metavar="TEXT", help="Why: it stands beside the switch, and beside every signal that it skips."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask again.")]


@app.command(rich_help_panel=ACT)
def pause(
    *,
    strategy: Strategy = None,
    wallet: Wallet = None,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Stop new orders until `resume`. Each signal meanwhile gets the recorded skip `strategy_paused`.

    It holds at every claim from this moment on, live and on paper, whichever mode this shell is set to, and in a running
    worker within a second. Orders that rest on the book stay there. A pause that was set before keeps its reason.

        polycopy-worker pause --strategy LT_ONE --reason "too many losses"

        polycopy-worker pause --reason "upgrade of the database"
    """
    _carry_out(_order("pause", strategy, wallet, reason), config, as_json=as_json)


@app.command(rich_help_panel=ACT)
def resume(
    *, strategy: Strategy = None, wallet: Wallet = None, config: Config = None, as_json: Json = False
) -> None:
    """Take a pause of the same scope back. Signals that were skipped meanwhile stay skipped.

    What still holds a strategy is told, with the command that lifts it: a pause of another scope, a kill, a freeze, the
    platform's own pause. A kill is lifted by `arm` alone.

        polycopy-worker resume --strategy LT_ONE
    """
    _carry_out(_order("resume", strategy, wallet), config, as_json=as_json)


@app.command(rich_help_panel=ACT)
def kill(
    *,
    strategy: Strategy = None,
    wallet: Wallet = None,
    reason: Reason = "",
    yes: Yes = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Stop new orders until somebody arms again: for when something is wrong. `resume` does not lift it.

    Without --strategy or --wallet everything stops, live and on paper, whichever worker trades it and whichever mode this
    shell is set to. Asks first on a terminal.

        polycopy-worker kill --reason "wrong prices from the paper side" --yes
    """
    _carry_out(_order("kill", strategy, wallet, reason), config, as_json=as_json, asks=not yes)


@app.command(rich_help_panel=ACT)
def arm(
    *,
    strategy: Strategy = None,
    wallet: Wallet = None,
    forget_losses: Annotated[
        bool,
        typer.Option(
            "--forget-losses", help="Count drawdown and losses in a row anew, though no breaker has tripped."
        ),
    ] = False,
    yes: Yes = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take a kill of the same scope back; of one strategy also a freeze, and arm the circuit breaker, if it has tripped.

    A strategy is frozen by the ledger where its books contradict themselves: compare the wallet with them first.

    A breaker that is armed counts the highest equity from what the strategy owns now: what was lost before is
    accepted. It holds live and on paper, whichever mode this shell is set to. Asks first on a terminal.

        polycopy-worker arm

        polycopy-worker arm --strategy LT_ONE --yes
    """
    order = _order("arm", strategy, wallet, forget_losses=forget_losses)
    _carry_out(order, config, as_json=as_json, asks=not yes)


def _order(
    action: str, strategy: str | None, wallet: str | None, reason: str = "", *, forget_losses: bool = False
) -> "Order":
    from worker.database.controls import ControlAction  # noqa: PLC0415 - Supabase's client takes a second to import
    from worker.verbs.switches import Order  # noqa: PLC0415

    return Order(
        ControlAction(action),
        None if strategy is None else StrategyId(strategy),
        None if wallet is None else WalletAddress(wallet.lower()),
        reason,
        forget_losses,
    )


def _carry_out(order: "Order", config: "Config", *, as_json: bool, asks: bool = False) -> None:
    from worker.verbs.switches import affected, standing_lines, turn  # noqa: PLC0415 - as in `_order`

    settings = load_settings(config)
    log.configure(settings.log)
    if asks:
        need_somebody(order.action)
        strategies = look(settings, lambda reports: affected(reports, order))
        ask(order.question, facts=standing_lines(strategies))
    turned = look(settings, lambda reports: turn(reports, order))
    if as_json:
        show_json(turned.as_json())
    else:
        show_lines(turned.lines())
