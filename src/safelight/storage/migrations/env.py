"""What Alembic runs: our versions, on the connection that ``migrate`` holds. Knows nothing of what the versions do."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
