-- chunk/leave: a peer is a source of a chunk no more, or waits for it no more.
-- KEYS[1] sources or waits (zset: "address peer", ms of the end)
-- ARGV[1] "address peer"
-- RETURN  {1 if it was one, else 0}
return {redis.call('ZREM', KEYS[1], ARGV[1])}
