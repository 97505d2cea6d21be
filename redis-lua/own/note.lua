-- own/note: remember what a socket is about to register; of what has ended by itself since, some is
-- forgotten: more than is new, so that it grows no further.
-- KEYS[1] the worker's owners (set of sids)   KEYS[2] what this socket owns (zset: entry, ms of its end)
-- ARGV[1] sid   ARGV[2...] entries, each with its ttl ms before it, 0 for one that does not end
-- USES    now
-- BOUND   the entries given, and of what has ended 100 and twice as many as those
-- RETURN  {entries that are new, 1 if the worker had no owners before, else 0}
local owners, owned = KEYS[1], KEYS[2]

local ended = redis.call('ZRANGEBYSCORE', owned, '-inf', now, 'LIMIT', 0, 100 + #ARGV)
for i = 1, #ended, 1000 do
  redis.call('ZREM', owned, unpack(ended, i, math.min(i + 999, #ended)))
end
local first = 1 - redis.call('EXISTS', owners)
redis.call('SADD', owners, ARGV[1])
local new = 0
for i = 2, #ARGV, 2 do
  local ttl = tonumber(ARGV[i])
  new = new + redis.call('ZADD', owned, ttl > 0 and now + ttl or '+inf', ARGV[i + 1])
end
return {new, first}
