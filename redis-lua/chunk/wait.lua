-- chunk/wait: let a peer wait for a chunk, unless it has been cached since the peer looked.
-- KEYS[1] the cached chunk (hash: data, accesses, cachedAt µs)   KEYS[2] waits (zset: "address peer", ms of the end)
-- ARGV[1] "address peer"   ARGV[2] wait ttl ms
-- USES    now
-- RETURN  {data or "" when it waits}
local cached, waits = KEYS[1], KEYS[2]
local waiter, ttl = ARGV[1], tonumber(ARGV[2])

local data = redis.call('HGET', cached, 'data')
if data then
  redis.call('HINCRBY', cached, 'accesses', 1)
  return {data}
end
redis.call('ZADD', waits, now + ttl, waiter)
redis.call('PEXPIRE', waits, ttl)
return {''}
