-- chunk/watch: look at a chunk after the time of a pull, whatever becomes of it.
-- KEYS[1] pulls (zset: chunk, ms by which its source is to push)
-- ARGV[1] chunk   ARGV[2] pull time-out ms
-- RETURN  {1 if it was not watched before, else 0}
local time = redis.call('TIME')

return {redis.call('ZADD', KEYS[1], 'NX', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])}
