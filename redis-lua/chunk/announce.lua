-- chunk/announce: make a peer a source of a chunk; if somebody waits for it and nobody was asked, it is asked.
-- KEYS[1] sources (zset: "address peer", ms of the end)   KEYS[2] waits (zset: "address peer", ms of the end)
-- KEYS[3] the pull under way (hash: source, until)
-- ARGV[1] "address peer"   ARGV[2] source ttl ms   ARGV[3] pull time-out ms
-- USES    now
-- RETURN  {ms by which it is to push, or 0: it is not asked}
local sources, waits, pull = KEYS[1], KEYS[2], KEYS[3]
local source, ttl, timeout = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

redis.call('ZADD', sources, now + ttl, source)
redis.call('PEXPIRE', sources, ttl)
if redis.call('ZCOUNT', waits, '(' .. now, '+inf') == 0 or tonumber(redis.call('HGET', pull, 'until') or 0) > now then
  return {0}
end
redis.call('HSET', pull, 'source', source, 'until', now + timeout)
redis.call('PEXPIRE', pull, timeout * 4)
return {now + timeout}
