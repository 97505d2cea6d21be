-- chunk/keep: note that a chunk was cached, and say which ones have to go for it: the least recently used.
-- KEYS[1] last use (zset: chunk, µs)   KEYS[2] when they expire (zset: chunk, ms)   KEYS[3] pulls (zset: chunk, ms)
-- ARGV[1] chunk   ARGV[2] cache ttl ms   ARGV[3] chunks kept at most
-- USES    now
-- RETURN  {{chunks to delete}, now µs}
local uses, ends, pulls = KEYS[1], KEYS[2], KEYS[3]
local chunk, ttl, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

for _, ended in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', ends, ended)
  redis.call('ZREM', uses, ended)
end
redis.call('ZREM', pulls, chunk)
redis.call('ZADD', ends, now + ttl, chunk)
redis.call('ZADD', uses, string.format('%.0f', us), chunk)
local evicted = {}
local too_many = math.min(redis.call('ZCARD', uses) - most, 100)
if too_many > 0 then
  evicted = redis.call('ZRANGE', uses, 0, too_many - 1)
  redis.call('ZREM', uses, unpack(evicted))
  redis.call('ZREM', ends, unpack(evicted))
end
return {evicted, us}
