-- chunk/leave: a peer is a source of a chunk no more.
-- KEYS[1] sources (zset: "address peer", ms of the end)   KEYS[2] those of them who rest (likewise)
-- ARGV[1] "address peer"
-- BOUND   one source
-- RETURN  {1 if it was one, else 0}
local removed = redis.call('ZREM', KEYS[1], ARGV[1]) + redis.call('ZREM', KEYS[2], ARGV[1])
return {math.min(removed, 1)}
