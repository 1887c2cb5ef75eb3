"""What runs inside Redis, so that no other worker's step comes between a look and a change.

Keys are rustq's: `job:data:{id}`, `job:status:{id}`, `jobs:{Status}`, `jobs:by_created`, `job:types`. tq's own
are `tq:rustq:lease:{id}` (who runs it), `tq:rustq:next:{id}` (the retry that was published) and
`tq:rustq:crashes:{id}`, each with a time to live, and `tq:rustq:due:{queue}` (delayed jobs by when they must have
been begun). Many jobs go into one call as a flat list. A job whose keys hold
something of another type fails alone.
"""

from __future__ import annotations

_MOVE = """
local function move(id, old, new)
  redis.call('SET', 'job:status:' .. id, new)
  if old ~= new then
    if old then redis.call('SREM', 'jobs:' .. old, id) end
    redis.call('SADD', 'jobs:' .. new, id)
  end
end
"""

_WATCH = """
local function clock_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function watch(queue, id, within_ms)
  if tonumber(within_ms) > 0 then
    redis.call('ZADD', 'tq:rustq:due:' .. queue, clock_ms() + tonumber(within_ms), id)
  end
end
"""

STORE = (
    _WATCH
    + """
-- queue, then id, document, type, created_at, watch ms ...
local stored = 0
for i = 2, #ARGV, 5 do
  local id = ARGV[i]
  if redis.call('EXISTS', 'job:status:' .. id) == 0 then
    redis.call('SET', 'job:data:' .. id, ARGV[i + 1])
    redis.call('SET', 'job:status:' .. id, 'Pending')
    redis.call('SADD', 'jobs:Pending', id)
    redis.call('ZADD', 'jobs:by_created', ARGV[i + 3], id)
    redis.call('SADD', 'job:types', ARGV[i + 2])
    watch(ARGV[1], id, ARGV[i + 4])
    stored = stored + 1
  end
end
return stored
"""
)

BEGIN = (
    _MOVE
    + _WATCH
    + """
-- worker, lease ms, crashes allowed, crash ms, then id, retry_count, redelivered, document, type, created_at, queue ...
local worker, lease_ms, crashes_max, crash_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local RUN, ENDED, STALE, BUSY, POISONED, BROKEN = 0, 1, 2, 3, 4, 5

local function begin(id, retries, redelivered, document, kind, created, queue)
  local status = redis.call('GET', 'job:status:' .. id)
  if status == 'Completed' or status == 'Cancelled' then return ENDED end
  if status == 'Failed' and redelivered then return ENDED end
  local following = redis.call('GET', 'tq:rustq:next:' .. id)
  if following and tonumber(following) > tonumber(retries) then return STALE end
  local owner = redis.call('GET', 'tq:rustq:lease:' .. id)
  if owner == worker and status == 'Processing' then return RUN end -- asked again, for the answer was lost
  if owner and owner ~= worker then
    -- The message takes the way through a delay queue now, and may be the only one.
    watch(queue, id, 2 * tonumber(lease_ms))
    return BUSY
  end
  if redelivered and status == 'Processing' then
    local crashes = redis.call('INCR', 'tq:rustq:crashes:' .. id)
    redis.call('PEXPIRE', 'tq:rustq:crashes:' .. id, crash_ms)
    if crashes >= crashes_max then return POISONED end
  end
  if redis.call('EXISTS', 'job:data:' .. id) == 0 then
    redis.call('SET', 'job:data:' .. id, document)
    redis.call('ZADD', 'jobs:by_created', created, id)
    redis.call('SADD', 'job:types', kind)
  end
  move(id, status, 'Processing')
  -- rustq leaves an id in these when it retries a job.
  redis.call('SREM', 'jobs:Pending', id)
  redis.call('SREM', 'jobs:Failed', id)
  redis.call('ZREM', 'tq:rustq:due:' .. queue, id)
  redis.call('SET', 'tq:rustq:lease:' .. id, worker, 'PX', lease_ms)
  return RUN
end

local verdicts = {}
for i = 5, #ARGV, 7 do
  local redelivered = ARGV[i + 2] == '1'
  local ok, verdict = pcall(
    begin, ARGV[i], ARGV[i + 1], redelivered, ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  )
  verdicts[#verdicts + 1] = ok and verdict or BROKEN
end
return verdicts
"""
)

END = (
    _MOVE
    + _WATCH
    + """
-- worker, keep ms, then id, status, document or '', next retry or -1, queue, watch ms ...
local worker, keep_ms = ARGV[1], tonumber(ARGV[2])

local function finish(id, status, document, following, queue, watch_ms)
  local lease = 'tq:rustq:lease:' .. id
  if redis.call('GET', lease) == worker then redis.call('DEL', lease) end
  local old = redis.call('GET', 'job:status:' .. id)
  if old == 'Completed' or old == 'Cancelled' then return 0 end
  if document ~= '' then redis.call('SET', 'job:data:' .. id, document) end
  move(id, old, status)
  redis.call('DEL', 'tq:rustq:crashes:' .. id)
  if following == '-1' then
    redis.call('DEL', 'tq:rustq:next:' .. id)
  else
    redis.call('SET', 'tq:rustq:next:' .. id, following, 'PX', keep_ms + tonumber(watch_ms))
    watch(queue, id, watch_ms)
  end
  return 1
end

local written = {}
for i = 3, #ARGV, 6 do
  local ok, result = pcall(finish, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
  written[#written + 1] = ok and result or 0
end
return written
"""
)

RENEW = """
-- worker, lease ms, then id ...
for i = 3, #ARGV do
  local lease = 'tq:rustq:lease:' .. ARGV[i]
  local owner = redis.call('GET', lease)
  if not owner or owner == ARGV[1] then redis.call('SET', lease, ARGV[1], 'PX', ARGV[2]) end
end
return #ARGV - 2
"""

OVERDUE = (
    _WATCH
    + """
-- queue, again ms, limit
local key, now = 'tq:rustq:due:' .. ARGV[1], clock_ms()
local lost = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, ARGV[3])) do
  local status = redis.call('GET', 'job:status:' .. id)
  local runs = redis.call('EXISTS', 'tq:rustq:lease:' .. id) == 1
  if status == 'Pending' or status == 'Processing' then
    redis.call('ZADD', key, now + tonumber(ARGV[2]), id)
    if not runs then lost[#lost + 1] = id end
  else
    redis.call('ZREM', key, id)
  end
end
return lost
"""
)

FORGET = """
-- id ...
for i = 1, #ARGV do
  local id = ARGV[i]
  if redis.call('GET', 'job:status:' .. id) == 'Pending' then
    redis.call('DEL', 'job:data:' .. id, 'job:status:' .. id)
    redis.call('SREM', 'jobs:Pending', id)
    redis.call('ZREM', 'jobs:by_created', id)
  end
end
return #ARGV
"""
