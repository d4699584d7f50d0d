"""The charts' options, for ECharts, out of the figures. Exact texts become numbers here, and only to be drawn.

What a tooltip says of a point goes along with it, in the command's own words: the browser rounds nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from worker.database.values import Row, row_of
from worker.orders.numbers import exact_decimal
from worker.verbs.words import percent, said, took, usd

Options = dict[str, Any]

GREEN: Final = "#16a34a"
TEAL: Final = "#14b8a6"
AMBER: Final = "#d97706"
INDIGO: Final = "#6366f1"
BLUE: Final = "#3b82f6"
GREY: Final = "#94a3b8"
RED: Final = "#dc2626"

_INK: Final = "#748095"  # as far from white as from dark blue
_GRID: Final = {"left": 8, "right": 24, "top": 40, "bottom": 4, "containLabel": True}
REASONS_MOST: Final = 10
_FEW: Final = 24  # points of a line that are drawn so large that each is seen
_CLOCK: Final = {
    "year": "{yyyy}",
    "month": "{MMM}",
    "day": "{MMM} {d}",
    "hour": "{HH}:{mm}",
    "minute": "{HH}:{mm}",
}
# What ECharts runs in the browser to name the ticks of an axis, where a template of its own cannot choose the unit.
_MS: Final = (
    "v => { const [, unit, word] = [[1e3, 1, 'ms'], [12e4, 1e3, 's'], [72e5, 6e4, 'min'], [1728e5, 36e5, 'h'], "
    "[Infinity, 864e5, 'd']].find(([below]) => v < below); return +(v / unit).toFixed(1) + ' ' + word }"
)
_DOLLARS: Final = "v => '$' + (v < 1000 ? v : v < 1e6 ? v / 1e3 + 'k' : v / 1e6 + 'M')"
_DOT: Final = "p => p.value[1] + ', ' + p.seriesName + ': ' + p.value[2]"
_SAID: Final = {
    "x": 0,
    "y": 1,
    "tooltip": 2,
}  # which member of a point is drawn where, and which is said of it
_LINE: Final = {"lineStyle": {"color": "rgba(148,163,184,.22)"}}


def number(value: object) -> float | None:
    """A point of a drawing; None leaves a gap."""
    known = exact_decimal(value)
    return None if known is None else float(known)


def _base(series: Sequence[Options], **more: Any) -> Options:
    return {
        "useUTC": True,
        "animation": False,
        "textStyle": {"color": _INK, "fontFamily": "inherit"},
        "grid": _GRID,
        "legend": {
            "top": 0,
            "left": 0,
            "itemWidth": 12,
            "itemHeight": 8,
            "textStyle": {"color": _INK},
            "itemStyle": {"borderWidth": 0},
        },
        "tooltip": {"trigger": "axis", "confine": True, "axisPointer": {"type": "shadow"}},
        "series": list(series),
    } | more


def _axis(name: str = "", **more: Any) -> Options:
    return {
        "type": "value",
        "name": name,
        "nameTextStyle": {"color": _INK, "align": "left"},
        "axisLabel": {"color": _INK},
        "splitLine": _LINE,
        "min": 0,
    } | more


def _share_axis() -> Options:
    return _axis(max=100, splitLine={"show": False}, axisLabel={"color": _INK, "formatter": "{value} %"})


def _time_axis() -> Options:
    return {
        "type": "time",
        "axisLabel": {"color": _INK, "hideOverlap": True, "formatter": _CLOCK},
        "axisLine": _LINE,
        "splitLine": {"show": False},
    }


def _ms_axis() -> Options:
    """From tenths of a millisecond to minutes, on one scale."""
    return _axis(
        type="log",
        min=None,
        axisLabel={"color": _INK, "fontSize": 11, "hideOverlap": True, ":formatter": _MS},
    )


def _names(names: list[str]) -> Options:
    return {
        "type": "category",
        "data": names,
        "axisLabel": {"color": _INK, "fontSize": 11},
        "axisLine": _LINE,
    }


def _hundred(share: object) -> float | None:
    known = exact_decimal(share)
    return None if known is None else float(known * 100)


def _points(
    series: Iterable[Row],
    values: Iterable[object],
    say: Callable[[object], str] = said,
    draw: Callable[[object], float | None] = number,
) -> list[list[Any]]:
    """As `_SAID` has it."""
    return [[one["at"], draw(value), say(value)] for one, value in zip(series, values, strict=True)]


def _bars(name: str, tint: str, points: Sequence[Any], **more: Any) -> Options:
    return {"name": name, "type": "bar", "color": tint, "data": points, "barCategoryGap": "20%"} | more


def _line(name: str, tint: str, points: list[list[Any]], **more: Any) -> Options:
    """Where nothing was counted, it is broken."""
    known = sum(value is not None for _, value, _ in points)
    return {
        "name": name, "type": "line", "color": tint, "data": points, "encode": _SAID, "symbol": "circle",
        "symbolSize": 8 if known <= _FEW else 4, "lineStyle": {"width": 2},
        "showAllSymbol": True, "clip": False, "z": 3,  # a point at 100 %, or a lonely one, is seen whole
        "itemStyle": {"borderColor": "#fff", "borderWidth": 1},
    } | more  # fmt: skip


def execution_over_time(series: Sequence[Row]) -> Options:
    """What became of the signals of each bucket, and the share that was executed."""
    bars = [
        _bars(name, tint, _points(series, (one[name] for one in series)), stack="signals", encode=_SAID)
        for name, tint in (("executed", GREEN), ("skipped", AMBER), ("deferred", INDIGO))
    ]
    shares = _points(series, (one["executed_share"] for one in series), percent, _hundred)
    rate = _line("execution rate", BLUE, shares, yAxisIndex=1)
    return _base([*bars, rate], xAxis=_time_axis(), yAxis=[_axis(minInterval=1), _share_axis()])


def fills_over_time(series: Sequence[Row]) -> Options:
    """The dollars that were bet and filled in each bucket, and their share."""
    orders = [row_of(one, "orders") for one in series]
    bet, filled = (
        _points(series, (one.get(key, "0") for one in orders), usd) for key in ("bet_usd", "filled_usd")
    )
    shares = _points(series, (one.get("fill_rate_usd") for one in orders), percent, _hundred)
    return _base(
        [
            _bars("bet", GREY, bet, encode=_SAID),
            _bars("filled", GREEN, filled, encode=_SAID, barGap="-100%"),
            _line("fill rate", BLUE, shares, yAxisIndex=1),
        ],
        xAxis=_time_axis(),
        yAxis=[_axis(axisLabel={"color": _INK, ":formatter": _DOLLARS}), _share_axis()],
    )


def wire_over_time(series: Sequence[Row]) -> Options:
    """From insert to wire, in each bucket."""
    lines = [
        _line(name, tint, _points(series, (one[key] for one in series), took))
        for name, tint, key in (("p50", GREEN, "sent_p50_ms"), ("p99", RED, "sent_p99_ms"))
    ]
    return _base(lines, xAxis=_time_axis(), yAxis=_ms_axis())


def reasons(told: Sequence[Row]) -> Options:
    """Why signals were skipped, the commonest on top."""
    shown = list(reversed(told[:REASONS_MOST]))
    bars = _bars("skipped", AMBER, [number(one["count"]) for one in shown])
    labels = {"show": True, "position": "right", "color": _INK}
    return _base(
        [bars | {"label": labels, "barMaxWidth": 18}],
        legend={"show": False},
        grid=_GRID | {"top": 4, "right": 48},
        xAxis=_axis(minInterval=1),
        yAxis=_names([one["reason"] for one in shown]),
    )


def stages(latency: Mapping[str, Row], titles: Sequence[tuple[str, str]]) -> Options:
    """How long each of these stages took: the middle and the slow end, as dots on one scale."""
    order = list(reversed(titles))
    dots = [
        {
            "name": name, "type": "scatter", "color": tint, "symbol": symbol, "symbolSize": 11,
            "data": [[number(ms := latency[stage][key]), title, took(ms)] for stage, title in order],
        }
        for name, tint, symbol, key in (
            ("p50", GREEN, "circle", "p50_ms"), ("p95", AMBER, "rect", "p95_ms"), ("p99", RED, "diamond", "p99_ms"),
        )
    ]  # fmt: skip
    return _base(
        dots,
        tooltip={"trigger": "item", "confine": True, ":formatter": _DOT},
        xAxis=_ms_axis(),
        yAxis=_names([title for _, title in order]) | {"splitLine": _LINE | {"show": True}},
    )


def capital(strategies: Sequence[Row]) -> Options:
    """Where the money of each strategy is."""
    names = [f"{one['strategy_id']} ({one['mode']})" for one in reversed(strategies)]
    purses = [row_of(one, "capital") for one in reversed(strategies)]
    bars = [
        _bars(
            title,
            tint,
            [
                [number(purse.get(key)), name, usd(purse.get(key))]
                for name, purse in zip(names, purses, strict=True)
            ],
            stack="capital",
            barMaxWidth=26,
            encode=_SAID,
        )
        for title, tint, key in (
            ("available", GREEN, "available_usd"),
            ("locked", BLUE, "locked_usd"),
            ("cooling down", INDIGO, "cooldown_usd"),
            ("awaiting redemption", TEAL, "awaiting_redeem_usd"),
        )
    ]
    return _base(
        bars,
        xAxis=_axis(splitNumber=2, axisLabel={"color": _INK, ":formatter": _DOLLARS, "hideOverlap": True}),
        yAxis=_names(names),
    )
