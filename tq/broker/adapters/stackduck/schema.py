"""StackDuck's table and its migration ledger, made as its own server makes them, so that either may come first.

Rules of the file:
- sqlx refuses to start on a version it does not know, so tq writes no row of its own into its ledger. What tq adds is a
  table beside: results, for which StackDuck has no place.
- Everything happens under the session advisory lock that sqlx takes, so that servers of both kinds may start at once.
"""

from __future__ import annotations

import zlib

import asyncpg

_LOCK_FACTOR = 0x3D32AD9E
_LEDGER = """
CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
    success BOOLEAN NOT NULL,
    checksum BYTEA NOT NULL,
    execution_time BIGINT NOT NULL
)
"""
_JOBS = """
CREATE TABLE jobs (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    job_type VARCHAR(255) NOT NULL,
    payload JSONB NOT NULL,
    status VARCHAR(50) NOT NULL DEFAULT 'queued',
    priority INTEGER DEFAULT 2,
    delay INTEGER DEFAULT 0,
    retry_count INTEGER DEFAULT 0,
    max_retries INTEGER DEFAULT 3,
    scheduled_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT priority_range CHECK (priority >= 1 AND priority <= 3)
);
CREATE INDEX idx_jobs_status ON jobs (status);
CREATE INDEX idx_jobs_job_type ON jobs (job_type);
CREATE INDEX idx_jobs_priority ON jobs (priority);
CREATE INDEX idx_jobs_created_at ON jobs (created_at);
CREATE INDEX idx_jobs_scheduled_at ON jobs (scheduled_at) WHERE scheduled_at IS NOT NULL;
CREATE INDEX idx_jobs_dequeue ON jobs (status, priority, created_at) WHERE status = 'queued';
CREATE OR REPLACE FUNCTION update_updated_at_column() RETURNS TRIGGER AS $$
BEGIN
    NEW.updated_at = NOW();
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER update_jobs_updated_at BEFORE UPDATE ON jobs
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
"""
_ERROR_MESSAGE = "ALTER TABLE jobs ADD COLUMN error_message TEXT DEFAULT ''"
_RESULTS = "CREATE TABLE IF NOT EXISTS tq_results (job_id UUID PRIMARY KEY, result BYTEA NOT NULL)"

MIGRATIONS = (
    (
        20250723223839,
        "create jobs table",
        "de90ac5da5b551a173de2133920f4787c77e469ac6bbfe6d0d18f13dc591deef7f58576b843c2981e84ab2af653a5a88",
        _JOBS,
    ),
    (
        20250803185302,
        "add error message column",
        "605e50c0c0acb3a6e9a97d839df6040f8d19553c90605d6a95c9cce83a44b8463755408f7da14543b93efb6b41e96343",
        _ERROR_MESSAGE,
    ),
)
"""version, description, SHA-384 of StackDuck's file, and what it does."""


def lock_key(database: str) -> int:
    """The advisory lock that sqlx takes for a database of this name."""
    return _LOCK_FACTOR * zlib.crc32(database.encode())


async def migrate(connection: asyncpg.Connection) -> list[int]:
    """Bring the schema to what StackDuck 0.1.3 knows; the versions that were missing. Raises asyncpg's errors."""
    database = await connection.fetchval("SELECT current_database()")
    key = lock_key(database)
    await connection.execute("SELECT pg_advisory_lock($1)", key)
    try:
        await connection.execute(_LEDGER)
        applied = {row["version"] for row in await connection.fetch("SELECT version FROM _sqlx_migrations")}
        missing = [each for each in MIGRATIONS if each[0] not in applied]
        for version, description, checksum, statements in missing:
            async with connection.transaction():
                await connection.execute(statements)
                await connection.execute(
                    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)"
                    " VALUES ($1, $2, TRUE, $3, 0)",
                    version,
                    description,
                    bytes.fromhex(checksum),
                )
        await connection.execute(_RESULTS)
        return [each[0] for each in missing]
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", key)
