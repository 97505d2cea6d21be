-- chunk/touch: note that a cached chunk was used.
-- KEYS[1] last use (zset: chunk, µs)
-- ARGV[1] chunk
-- RETURN  {1 if it was kept and is now the last used, else 0}
local time = redis.call('TIME')

return {redis.call('ZADD', KEYS[1], 'XX', 'CH', time[1] .. string.format('%06d', time[2]), ARGV[1])}
