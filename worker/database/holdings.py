"""What a SELL is decided on, as `lt_holdings` tells it."""

from worker.database.values import Row, decimal_of, flag_of
from worker.orders.holdings import Holdings


def parse_holdings(answer: Row) -> Holdings:
    return Holdings(
        unsold_shares=decimal_of(answer, "unsold_shares"),
        settled_shares=decimal_of(answer, "settled_shares"),
        buying=flag_of(answer, "buying"),
        selling=flag_of(answer, "selling"),
        paper_bought_shares=decimal_of(answer, "paper_bought_shares"),
        paper_sold_shares=decimal_of(answer, "paper_sold_shares"),
    )
