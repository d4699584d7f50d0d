"""A whole Supabase project on this machine: PostgreSQL, PostgREST and Realtime behind one address.

async with SupabaseSandbox.start() as supabase:
    client = await acreate_client(supabase.url, supabase.service_role_key)
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from worker.sandbox.gateway.pacing import DeliveryMode
from worker.sandbox.gateway.server import Gateway
from worker.sandbox.gateway.timing import GatewayTiming
from worker.sandbox.keys import ProjectKeys
from worker.sandbox.migrations import apply_migrations
from worker.sandbox.postgres import AUTHENTICATOR, Postgres
from worker.sandbox.postgrest import PostgREST


class SupabaseSandbox:
    """A running project. `dsn` connects to its database as superuser."""

    def __init__(
        self,
        *,
        dsn: str,
        keys: ProjectKeys,
        postgres: Postgres,
        postgrest: PostgREST,
        gateway: Gateway,
    ) -> None:
        self.dsn = dsn
        self.keys = keys
        self.postgres = postgres
        self.postgrest = postgrest
        self.gateway = gateway

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        *,
        postgres: Postgres | None = None,
        template: str | None = None,
        port: int = 0,
        timing: GatewayTiming | None = None,
        delivery: DeliveryMode = DeliveryMode.IMMEDIATE,
        seed: int = 0,
    ) -> AsyncIterator["SupabaseSandbox"]:
        """Starts a project on `postgres` (default: one of its own) and removes it at exit.

        Its database is a copy of `template`; without one, a new project with our migrations applied.
        `port` (0 for any free one), `timing`, `delivery` and `seed` are the gateway's.
        """
        keys = ProjectKeys()
        async with AsyncExitStack() as stack:
            if postgres is None:
                postgres = await stack.enter_async_context(Postgres.start())
            if template is None:
                database = await postgres.create_project()
                stack.push_async_callback(postgres.drop_database, database)
                await apply_migrations(postgres.dsn(database))
            else:
                database = await stack.enter_async_context(postgres.database(template=template))
            dsn = postgres.dsn(database)
            postgrest = await stack.enter_async_context(
                PostgREST.start(
                    dsn=dsn,
                    authenticator_dsn=postgres.dsn(database, user=AUTHENTICATOR),
                    jwt_secret=keys.secret,
                )
            )
            gateway = await stack.enter_async_context(
                Gateway.start(
                    dsn=dsn,
                    jwt_secret=keys.secret,
                    postgrest_socket=postgrest.socket,
                    port=port,
                    timing=timing,
                    delivery=delivery,
                    seed=seed,
                )
            )
            yield cls(dsn=dsn, keys=keys, postgres=postgres, postgrest=postgrest, gateway=gateway)

    @property
    def url(self) -> str:
        return self.gateway.url

    @property
    def anon_key(self) -> str:
        return self.keys.anon

    @property
    def service_role_key(self) -> str:
        return self.keys.service_role
