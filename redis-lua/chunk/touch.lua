-- chunk/touch: note that a cached chunk was used.
-- KEYS[1] last use (zset: chunk, µs)   KEYS[2] whose they are (hash: chunk, "ip µs" of the last use)
-- KEYS[3] the same in that order (zset: "ip µs chunk", 0)
-- ARGV[1] chunk
-- USES    now
-- BOUND   one chunk
-- RETURN  {1 if it was kept and is now the last used, else 0}
local uses, owners, order = unpack(KEYS)
local chunk = ARGV[1]

local place = redis.call('HGET', owners, chunk)
if place then
  redis.call('ZREM', order, place .. ' ' .. chunk)
  place = string.format('%s %016.0f', place:match('^%S+'), us)
  redis.call('HSET', owners, chunk, place)
  redis.call('ZADD', order, 0, place .. ' ' .. chunk)
end
return {redis.call('ZADD', uses, 'XX', 'CH', string.format('%.0f', us), chunk)}
