-- chunk/push: cache a chunk, end its pull, and read who waits for it; they wait no longer.
-- KEYS[1] the cached chunk (hash: data, accesses, cachedAt)   KEYS[2] waits (zset: "address peer", ms of the end)
-- KEYS[3] the pull under way (hash: source, until)   KEYS[4] sources that were asked in vain (set)
-- ARGV[1] data   ARGV[2] cache ttl ms
-- RETURN  {{"address peer" of each waiter}}
local cached, waits, pull, tried = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', cached, 'data', ARGV[1], 'accesses', 0, 'cachedAt', now)
redis.call('PEXPIRE', cached, ARGV[2])
local waiters = redis.call('ZRANGEBYSCORE', waits, '(' .. now, '+inf')
redis.call('DEL', waits, pull, tried)
return {waiters}
