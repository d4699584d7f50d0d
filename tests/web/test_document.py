"""The examples in the API's document are answers that it could give."""

from typing import Any

import pytest
from pydantic import BaseModel

from worker.web import audit, diagnostic, examples, orders, sweep, switches


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (audit.ExecutionAudit, examples.EXECUTION_AUDIT),
        (diagnostic.Diagnostic, examples.DIAGNOSTIC),
        (orders.StrategyOrders, examples.STRATEGY_ORDERS),
        (orders.RecentActivity, examples.RECENT_ACTIVITY),
        (sweep.Execution, examples.EXECUTION),
        (switches.Turned, examples.TURNED),
    ],
)
def test_an_example_is_a_whole_answer_and_no_key_more(
    model: type[BaseModel], example: dict[str, Any]
) -> None:
    assert model.model_validate(example).model_dump(mode="json") == example
