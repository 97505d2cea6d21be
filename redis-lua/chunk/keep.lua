-- chunk/keep: note that a chunk was cached, and say which ones have to go for it: those of the client address that has
-- most, the least recently used first. So nobody's pushes empty the cache of what others have pushed.
-- KEYS[1] last use (zset: chunk, µs)   KEYS[2] when they expire (zset: chunk, ms)   KEYS[3] pulls (zset: chunk, ms)
-- KEYS[4] whose they are (hash: chunk, "ip µs" of the last use)   KEYS[5] the same in that order (zset: "ip µs chunk", 0)
-- KEYS[6] how many each has (zset: ip, chunks)
-- ARGV[1] chunk   ARGV[2] cache ttl ms   ARGV[3] chunks kept at most   ARGV[4] address of the client
-- USES    now
-- BOUND   one chunk, 100 that have ended and 100 that have to go
-- RETURN  {{chunks to delete}, now µs}
local uses, ends, pulls, owners, order, counts = unpack(KEYS)
local chunk, ttl, most, ip = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

local function forget(name)
  redis.call('ZREM', ends, name)
  redis.call('ZREM', uses, name)
  local place = redis.call('HGET', owners, name)
  if place then
    redis.call('HDEL', owners, name)
    redis.call('ZREM', order, place .. ' ' .. name)
    local owner = place:match('^%S+')
    if tonumber(redis.call('ZADD', counts, 'INCR', -1, owner)) <= 0 then
      redis.call('ZREM', counts, owner)
    end
  end
end
-- What a worker of a former version has cached is nobody's: it goes when nobody has any.
local function next_to_go()
  local heaviest = redis.call('ZREVRANGE', counts, 0, 0)[1] or ''
  local oldest = redis.call('ZRANGEBYLEX', order, '[' .. heaviest .. ' ', '(' .. heaviest .. '!', 'LIMIT', 0, 1)[1]
  local name = oldest and oldest:match('^%S+ %d+ (.*)$')
  return name and name ~= chunk and name or redis.call('ZRANGE', uses, 0, 0)[1]
end

for _, ended in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 100)) do
  forget(ended)
end
forget(chunk)
redis.call('ZREM', pulls, chunk)
redis.call('ZADD', ends, now + ttl, chunk)
redis.call('ZADD', uses, string.format('%.0f', us), chunk)
local place = string.format('%s %016.0f', ip, us)
redis.call('HSET', owners, chunk, place)
redis.call('ZADD', order, 0, place .. ' ' .. chunk)
redis.call('ZADD', counts, 'INCR', 1, ip)
local evicted = {}
for i = 1, math.min(redis.call('ZCARD', uses) - most, 100) do
  evicted[i] = next_to_go()
  forget(evicted[i])
end
return {evicted, us}
