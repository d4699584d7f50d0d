"""One loopback port that answers as a Supabase project: REST by PostgREST, Realtime by this package."""
