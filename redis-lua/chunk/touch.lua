-- chunk/touch: note that a cached chunk was used.
-- KEYS[1] last use (zset: chunk, µs)
-- ARGV[1] chunk
-- USES    now
-- RETURN  {1 if it was kept and is now the last used, else 0}
return {redis.call('ZADD', KEYS[1], 'XX', 'CH', string.format('%.0f', us), ARGV[1])}
