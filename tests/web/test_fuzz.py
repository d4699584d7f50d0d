"""The API keeps its own document: a short look of what `make api-fuzz` does at length."""

import pytest

from tests.web.conftest import open_site
from tests.web.fuzzing import fuzz, stock
from worker.sandbox.supabase import SupabaseSandbox


@pytest.mark.timeout(180)  # a process of its own: on a busy machine it takes its time
async def test_every_operation_answers_as_the_document_says(supabase: SupabaseSandbox) -> None:
    async with open_site(supabase) as site:
        await stock(supabase.dsn)
        code, said = await fuzz(site.address, phases=("examples", "fuzzing"), examples=3, seed=1)
    assert code == 0, said
    assert "13 passed" in said, said
