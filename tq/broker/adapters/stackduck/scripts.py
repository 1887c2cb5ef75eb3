"""What is done to StackDuck's Redis in one step each, as Lua.

Rules of the file:
- A queue and the running set change together or not at all, so a job is never in neither of them, or in both.
- Beside StackDuck's keys stand tq's own, all under `tq:stackduck:`. A lease is `<token>:<deadline ms>:<broker>`, by job id.
- A member that cannot be a job is moved aside with the reason, not popped and lost.
"""

LEASES = "tq:stackduck:leases"
TOKEN = "tq:stackduck:token"
LOST = "tq:stackduck:lost"
"""job id -> how often its worker was lost."""
ASIDE = "tq:stackduck:aside"
"""List of {at, from, reason, member}."""
OWED = "tq:stackduck:owed"
"""job id -> the job as PostgreSQL is still to be told."""
ALIVE_PREFIX = "tq:stackduck:broker:"
SWEEPER = "tq:stackduck:sweeper"
NEWS = "tq:stackduck:news"
"""The channel on which brokers tell each other: `ready`, or `ended <job id> ...`. Each listens, and while there is one only
nothing is said: it knows, and would be woken by its own words just when it waits for an answer."""

_TELL = """
local function tell(channel, text)
  local listeners = redis.pcall('PUBSUB', 'NUMSUB', channel)
  if listeners.err or tonumber(listeners[2]) > 1 then redis.call('PUBLISH', channel, text) end
end
"""

PUSH = (
    _TELL
    + """
-- KEYS: queue, cache for each job. ARGV: 1 if those already known are to be left alone, channel;
-- member, score, cache text, cache seconds for each job. Returns how many were put in.
local put = 0
for i = 1, #KEYS, 2 do
  local a = 3 + (i - 1) * 2
  if ARGV[1] ~= '1' or redis.call('EXISTS', KEYS[i + 1]) == 0 then
    redis.call('ZADD', KEYS[i], ARGV[a + 1], ARGV[a])
    redis.call('SETEX', KEYS[i + 1], ARGV[a + 3], ARGV[a + 2])
    put = put + 1
  end
end
if put > 0 then tell(ARGV[2], 'ready') end
return put
"""
)

TAKE = """
-- KEYS: running, leases, token, aside, lost, then queues. ARGV: now s, score of a running job, least token, deadline ms,
-- broker, most jobs, time as text. Returns how many left their queues, then
-- token, how often lost, queued text for each that is leased.
local now, most = tonumber(ARGV[1]), tonumber(ARGV[6])
local found = {}
for i = 6, #KEYS do
  local heads = redis.call('ZRANGE', KEYS[i], 0, most - 1, 'WITHSCORES')
  for j = 1, #heads, 2 do
    local score = tonumber(heads[j + 1])
    if score > now then break end
    found[#found + 1] = {score, heads[j], KEYS[i]}
  end
end
if #found == 0 then return {0} end
if #KEYS > 6 then
  table.sort(found, function(a, b) if a[1] ~= b[1] then return a[1] < b[1] end return a[2] < b[2] end)
end
local function set_aside(one, reason)
  local text = string.gsub(one[2], '[\\128-\\255]', function(c) return string.format('\\\\x%02x', string.byte(c)) end)
  redis.call('RPUSH', KEYS[4], cjson.encode({at = ARGV[7], from = one[3], reason = reason, member = text}))
end
local token = math.max(tonumber(redis.call('GET', KEYS[3]) or '0'), tonumber(ARGV[3]))
local out = {math.min(most, #found)}
for n = 1, math.min(most, #found) do
  local one = found[n]
  redis.call('ZREM', one[3], one[2])
  local id = string.match(one[2], '^{"id":"(%x+%-%x+%-%x+%-%x+%-%x+)"')
  if not id then
    local fine, job = pcall(cjson.decode, one[2])
    if not fine or type(job) ~= 'table' then set_aside(one, 'not a JSON object')
    elseif type(job.id) ~= 'string' then set_aside(one, 'id is missing')
    else id = job.id end
  end
  if id then id = string.lower(id) end
  if id and redis.call('HEXISTS', KEYS[2], id) == 1 then
    set_aside(one, 'duplicate: the job is running')
    id = nil
  end
  if id then
    token = token + 1
    redis.call('ZADD', KEYS[1], ARGV[2], id .. ':' .. one[2])
    redis.call('HSET', KEYS[2], id, string.format('%.0f', token) .. ':' .. ARGV[4] .. ':' .. ARGV[5])
    out[#out + 1] = string.format('%.0f', token)
    out[#out + 1] = redis.call('HGET', KEYS[5], id) or '0'
    out[#out + 1] = one[2]
  end
end
redis.call('SET', KEYS[3], string.format('%.0f', token))
return out
"""

FINISH = (
    _TELL
    + """
-- KEYS: running, leases, lost, owed; queue, dead letters and cache for each job. ARGV: channel; for each job: id, token or
-- '', running member or '', cache text, cache seconds, queued text or '', score, dead letter or '', lost: 1, 0, or -1 =
-- forget, 1 = PostgreSQL is still to be told.
-- Returns 1 for each that was done, 0 where somebody else had the job by now.
local out, ended, ready = {}, {}, false
for i = 5, #KEYS, 3 do
  local a = 2 + (i - 5) / 3 * 10
  local id, token, member = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local mine = true
  if token ~= '' then
    local lease = redis.call('HGET', KEYS[2], id)
    mine = lease and string.match(lease, '^(%d+):') == token
  elseif ARGV[a + 9] == '1' then
    -- Without a lease it may be that the job has ended already, and PostgreSQL does not know.
    local owed = redis.call('HGET', KEYS[4], id)
    local fine, job = pcall(cjson.decode, owed or '{"status":"Queued"}')
    mine = fine and job.status == 'Queued'
  end
  if mine then
    local was = member ~= '' and redis.call('ZREM', KEYS[1], member) or 0
    mine = token ~= '' or member == '' or was == 1
  end
  if mine then
    redis.call('HDEL', KEYS[2], id)
    if ARGV[a + 9] == '1' then redis.call('HSET', KEYS[4], id, ARGV[a + 3]) end
    redis.call('SETEX', KEYS[i + 2], ARGV[a + 4], ARGV[a + 3])
    if ARGV[a + 5] ~= '' then
      redis.call('ZADD', KEYS[i], ARGV[a + 6], ARGV[a + 5])
      ready = true
    else
      ended[#ended + 1] = id
    end
    if ARGV[a + 7] ~= '' then
      redis.call('LPUSH', KEYS[i + 1], ARGV[a + 7])
      redis.call('INCR', KEYS[i + 1] .. ':count')
    end
    if ARGV[a + 8] == '1' then redis.call('HINCRBY', KEYS[3], id, 1)
    elseif ARGV[a + 8] == '-1' then redis.call('HDEL', KEYS[3], id) end
  end
  out[#out + 1] = mine and 1 or 0
end
if ready then tell(ARGV[1], 'ready') end
if #ended > 0 then tell(ARGV[1], 'ended ' .. table.concat(ended, ' ')) end
return out
"""
)

HOLD = """
-- KEYS: running, leases. ARGV: for each job: id, lease, running member, score. A lease that is taken over, extended, or
-- made while Redis was away.
for i = 1, #ARGV, 4 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[1], ARGV[i + 3], ARGV[i + 2])
end
return 1
"""

PICTURE = """
-- KEYS: leases, then cache of each job. ARGV: id, text, seconds for each. Jobs that have ended meanwhile stay as they are.
for i = 2, #KEYS do
  local a = (i - 2) * 3 + 1
  if redis.call('HEXISTS', KEYS[1], ARGV[a]) == 1 then redis.call('SETEX', KEYS[i], ARGV[a + 2], ARGV[a + 1]) end
end
return 1
"""

RESCORE = """
-- KEYS: queue. ARGV: score, member, ... Those that were taken meanwhile stay taken.
for i = 1, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'XX', ARGV[i], ARGV[i + 1]) end
return 1
"""

DROP = """
-- KEYS: set, list, leases. ARGV: member, entry, job id of a lease that goes too. 0 when the member was not there any more.
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('HDEL', KEYS[3], ARGV[3])
return 1
"""
