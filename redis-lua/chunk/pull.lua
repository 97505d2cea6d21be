-- chunk/pull: decide whom to ask for a chunk that is waited for: nobody while another was asked and has time left.
-- KEYS[1] sources (zset: "address peer", ms of the end)   KEYS[2] waits (zset: "address peer", ms of the end)
-- KEYS[3] the pull under way (hash: source, until)   KEYS[4] sources that were asked in vain (set)
-- ARGV[1] source that has left ("address peer"), or ""   ARGV[2] pull time-out ms   ARGV[3] seed, random
-- USES    now
-- RETURN  {"pull" | "again" after one in vain | "none" | "idle", source to ask, ms by which the one asked is to push
--          or 0, {waiters, with "none" after one in vain}, now ms}
local sources, waits, pull, tried = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local left, timeout, seed = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local asked = redis.call('HMGET', pull, 'source', 'until')
if asked[1] then
  if left ~= asked[1] and (left ~= '' or tonumber(asked[2]) > now) then
    return {'idle', '', tonumber(asked[2]), {}, now}
  end
  redis.call('SADD', tried, asked[1])
  redis.call('PEXPIRE', tried, timeout * 4)
  redis.call('DEL', pull)
elseif left ~= '' then
  return {'idle', '', 0, {}, now}
end

redis.call('ZREMRANGEBYSCORE', waits, '-inf', now)
if redis.call('ZCARD', waits) == 0 then
  redis.call('DEL', tried)
  return {'idle', '', 0, {}, now}
end

-- Sources are drawn at random without repeats until one is found that was not asked in vain and does not wait itself.
redis.call('ZREMRANGEBYSCORE', sources, '-inf', now)
local size = redis.call('ZCARD', sources)
local moved = {}
math.randomseed(seed)
for i = 1, math.min(size, redis.call('SCARD', tried) + redis.call('ZCARD', waits) + 1) do
  local j = math.random(i, size)
  local rank = (moved[j] or j) - 1
  moved[j] = moved[i] or i
  local source = redis.call('ZRANGE', sources, rank, rank)[1]
  if redis.call('SISMEMBER', tried, source) == 0 and not redis.call('ZSCORE', waits, source) then
    redis.call('HSET', pull, 'source', source, 'until', now + timeout)
    redis.call('PEXPIRE', pull, timeout * 4)
    return {asked[1] and 'again' or 'pull', source, now + timeout, {}, now}
  end
end
redis.call('DEL', tried)
return {'none', '', 0, asked[1] and redis.call('ZRANGE', waits, 0, -1) or {}, now}
