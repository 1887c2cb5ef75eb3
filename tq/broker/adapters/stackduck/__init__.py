"""The backend on StackDuck's own Redis and PostgreSQL."""
