-- chunk/watch: look at a chunk after the time of a pull, whatever becomes of it.
-- KEYS[1] pulls (zset: chunk, ms by which its source is to push)
-- ARGV[1] chunk   ARGV[2] pull time-out ms
-- USES    now
-- BOUND   one chunk
-- RETURN  {1 if it was not watched before, else 0}
return {redis.call('ZADD', KEYS[1], 'NX', now + ARGV[2], ARGV[1])}
