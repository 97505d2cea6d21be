-- server/put: register a server, unless its entry is another than the one that was looked at; forgets some that ended.
-- KEYS[1] entries (hash: id, JSON up to lastSeen)   KEYS[2] when they were last seen (zset: id, ms)
-- ARGV[1] id   ARGV[2] entry, JSON up to registeredAt   ARGV[3] ms that an entry lives
-- ARGV[4] the entry that was looked at, "" for none, "*" if nobody looked
-- USES    now
-- RETURN  {1 if it is registered, else 0; now ms}
local entries, seen = KEYS[1], KEYS[2]
local id, entry, ttl, looked = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

for _, ended in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - ttl, 'LIMIT', 0, 100)) do
  redis.call('ZREM', seen, ended)
  redis.call('HDEL', entries, ended)
end
local fresh = tonumber(redis.call('ZSCORE', seen, id) or 0) > now - ttl
if looked ~= '*' and (fresh and redis.call('HGET', entries, id) or '') ~= looked then
  return {0, now}
end
redis.call('HSET', entries, id, entry .. string.format(',"registeredAt":%.0f', now))
redis.call('ZADD', seen, now, id)
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ttl)
end
return {1, now}
