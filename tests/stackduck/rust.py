"""What a StackDuck server in Rust does to its stores, written down from its contract: jobs in, jobs out, ends."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tests.stackduck.serving import Deployment

DEQUEUE = """
local lock = redis.call('SET', KEYS[3], ARGV[1], 'NX', 'PX', ARGV[4])
if not lock then return nil end
local popped = redis.call('ZPOPMIN', KEYS[1])
redis.call('DEL', KEYS[3])
if #popped == 0 then return nil end
if tonumber(popped[2]) > tonumber(ARGV[2]) then
  redis.call('ZADD', KEYS[1], popped[2], popped[1])
  return nil
end
local job = cjson.decode(popped[1])
redis.call('ZADD', KEYS[2], ARGV[3], job.id .. ':' .. popped[1])
return popped[1]
"""


async def enqueue(here: Deployment, job_type: str = "mail", *, priority: int = 2, **fields: Any) -> str:
    """A row, a member at the score of its formula, a cache entry. The job's id."""
    job_id = str(uuid4())
    now = datetime.now(UTC)
    job: dict[str, Any] = {
        "id": job_id,
        "job_type": job_type,
        "payload": {"n": 1},
        "status": "Queued",
        "priority": priority,
        "retry_count": 0,
        "max_retries": 2,
        "error_message": None,
        "delay": 1,
        "scheduled_at": None,
        "started_at": None,
        "completed_at": None,
        "created_at": text(now),
        "updated_at": text(now),
    } | fields
    await here.sql(
        "INSERT INTO jobs (id, job_type, payload, status, priority, retry_count, max_retries, delay, scheduled_at)"
        " VALUES ($1, $2, $3, 'Queued', $4, $5, $6, $7, $8)",
        *(job_id, job_type, json.dumps(job["payload"]), priority, job["retry_count"], job["max_retries"]),
        *(job["delay"], None if job["scheduled_at"] is None else datetime.fromisoformat(job["scheduled_at"])),
    )
    due_s = (
        int(now.timestamp())
        if job["scheduled_at"] is None
        else int(datetime.fromisoformat(job["scheduled_at"]).timestamp())
    )
    member = json.dumps(job, separators=(",", ":"))
    await here.redis.zadd(f"Stackduck:queue:{job_type}", {member: due_s + (3 - priority) * 1000})
    await here.redis.set(f"Stackduck:job:{job_id}", member, ex=3600)
    return job_id


async def dequeue(here: Deployment, job_type: str = "mail") -> dict[str, Any] | None:
    """One job, by its script."""
    now = int(time.time())
    found = await here.redis.eval(
        DEQUEUE, 3, f"Stackduck:queue:{job_type}", "Stackduck:running", f"lock:dequeue:{job_type}",
        "w", now, now + 1800, 1000,
    )  # fmt: skip
    return None if found is None else read(found)


def read(text: bytes) -> dict[str, Any]:
    """As serde reads a job: these four must be there, and everything must be of its type."""
    job: dict[str, Any] = json.loads(text)
    assert isinstance(job["id"], str) and isinstance(job["job_type"], str) and isinstance(job["status"], str)
    assert "payload" in job
    for key in ("priority", "retry_count", "max_retries", "delay"):
        assert job.get(key) is None or type(job[key]) is int
    for key in ("scheduled_at", "started_at", "completed_at", "created_at", "updated_at"):
        assert job.get(key) is None or job[key].endswith("Z") and datetime.fromisoformat(job[key])
    return job


def text(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")


def ago(**fields: int) -> str:
    return text(datetime.now(UTC) - timedelta(**fields))
