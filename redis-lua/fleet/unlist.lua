-- fleet/unlist: take a worker off the list: it owns nothing any more.
-- KEYS[1] the workers (zset: wid, last beat ms)
-- ARGV[1] wid
-- BOUND   one worker
-- RETURN  {1 if it was listed, else 0}
return {redis.call('ZREM', KEYS[1], ARGV[1])}
