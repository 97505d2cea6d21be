-- chunk/announce: make a peer a source of a chunk; if somebody waits for it and nobody was asked, it is asked.
-- KEYS[1] sources (zset: "address peer", ms of the end)   KEYS[2] those of them who rest (likewise)
-- KEYS[3] waits (zset: "address peer", ms of the end)   KEYS[4] the pull under way (hash: source, until)
-- KEYS[5] sources that were asked in vain (set)
-- ARGV[1] "address peer"   ARGV[2] source ttl ms   ARGV[3] pull time-out ms
-- USES    now, sources
-- BOUND   one source
-- RETURN  {ms by which it is to push, or 0: it is not asked; 1 if it was no source before, else 0}
local sources, rest, waits, pull, tried = unpack(KEYS)
local source, ttl, timeout = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local waiting = tonumber(redis.call('ZSCORE', waits, source) or 0) > now
local known = tonumber(redis.call('ZSCORE', sources, source) or redis.call('ZSCORE', rest, source) or 0) > now
local list, other = sources, rest
if waiting or redis.call('SISMEMBER', tried, source) == 1 then
  list, other = rest, sources
end
redis.call('ZREM', other, source)
redis.call('ZADD', list, now + ttl, source)
redis.call('PEXPIRE', list, ttl)
if waiting then
  outlive(waits, rest)
end
if redis.call('ZCOUNT', waits, '(' .. now, '+inf') == 0 or tonumber(redis.call('HGET', pull, 'until') or 0) > now then
  return {0, known and 0 or 1}
end
redis.call('HSET', pull, 'source', source, 'until', now + timeout)
redis.call('PEXPIRE', pull, timeout * 4)
return {now + timeout, known and 0 or 1}
