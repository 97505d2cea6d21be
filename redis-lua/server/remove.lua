-- server/remove: take a server off the list, unless its entry is another than the one that was looked at.
-- KEYS[1] entries (hash: id, JSON up to lastSeen)   KEYS[2] when they were last seen (zset: id, ms)
-- ARGV[1] id   ARGV[2] ms that an entry lives
-- ARGV[3] the entry that was looked at, "" for none, "*" if nobody looked
-- USES    now
-- RETURN  {1 if it is gone, 0 if it has another entry}
local entries, seen = KEYS[1], KEYS[2]
local id, ttl, looked = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local fresh = tonumber(redis.call('ZSCORE', seen, id) or 0) > now - ttl
if looked ~= '*' and fresh and redis.call('HGET', entries, id) ~= looked then
  return {0}
end
redis.call('HDEL', entries, id)
redis.call('ZREM', seen, id)
return {1}
