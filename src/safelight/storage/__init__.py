"""Where things rest: PostgreSQL for truth, a blob store for bytes. The only room that knows SQL."""
