-- chunk/withdraw: a peer waits for a chunk no more. If it is a source it may be asked again.
-- KEYS[1] waits (zset: "address peer", ms of the end)   KEYS[2] sources (likewise)   KEYS[3] those of them who rest (likewise)
-- KEYS[4] sources that were asked in vain (set)
-- ARGV[1] "address peer"
-- USES    sources
-- BOUND   one waiter
-- RETURN  {1 if it waited, else 0}
local waits, sources, rest, tried = unpack(KEYS)
local waiter = ARGV[1]

if redis.call('SISMEMBER', tried, waiter) == 0 then
  move(rest, sources, waiter)
end
return {redis.call('ZREM', waits, waiter)}
