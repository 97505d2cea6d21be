-- chunk/wait: let a peer wait for a chunk, unless it has been cached since the peer looked. A source that waits is not
-- asked.
-- KEYS[1] the cached chunk (hash: data, accesses, cachedAt µs, by)   KEYS[2] waits (zset: "address peer", ms of the end)
-- KEYS[3] sources (likewise)   KEYS[4] those of them who rest (likewise)
-- ARGV[1] "address peer"   ARGV[2] wait ttl ms
-- USES    now, sources
-- BOUND   one waiter, and the bytes of the chunk
-- RETURN  {data or "" when it waits, 1 if it waits and did not before, else 0}
local cached, waits, sources, rest = unpack(KEYS)
local waiter, ttl = ARGV[1], tonumber(ARGV[2])

local data = redis.call('HGET', cached, 'data')
if data then
  redis.call('HINCRBY', cached, 'accesses', 1)
  return {data, 0}
end
local known = tonumber(redis.call('ZSCORE', waits, waiter) or 0) > now
redis.call('ZADD', waits, now + ttl, waiter)
if redis.call('PTTL', waits) < ttl then
  redis.call('PEXPIRE', waits, ttl)
end
-- The end of its wait must be seen, or it would rest for good.
if move(sources, rest, waiter) or redis.call('ZSCORE', rest, waiter) then
  outlive(waits, rest)
end
return {'', known and 0 or 1}
