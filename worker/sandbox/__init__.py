"""The whole world on one machine: a Supabase project, an exchange, and no account, key or Docker.

`worker.sandbox.supabase.SupabaseSandbox` is the database half: a private PostgreSQL, the real PostgREST
and a gateway that speaks Realtime's protocol, all behind one loopback address.
"""
