-- server/put: register a server, unless its entry is another than the one that was looked at; forgets some that ended.
-- KEYS[1] entries (hash: id, JSON up to lastSeen)   KEYS[2] when they were last seen (zset: id, ms)
-- KEYS[3] number of the last change of the list   KEYS[4] last timestamps that were signed (zset: id, ms)
-- ARGV[1] id   ARGV[2] entry, JSON up to registeredAt   ARGV[3] ms that an entry lives
-- ARGV[4] the entry that was looked at, "" for none, "*" if nobody looked
-- ARGV[5] servers at most   ARGV[6] timestamp that was signed, ms; "" if none was
-- USES    now, signed
-- RETURN  {"done", "changed": it has another entry, "replay": an older write than its last, or "full"; now ms}
-- BOUND   100 that ended; timestamps of the last 2 minutes, 2 x ARGV[5] of them at most
local entries, seen, changed, signed = unpack(KEYS)
local id, entry, ttl, looked, most, timestamp = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6]

if is_replay(signed, id, timestamp) then
  return {'replay', now}
end
for _, ended in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - ttl, 'LIMIT', 0, 100)) do
  redis.call('ZREM', seen, ended)
  redis.call('HDEL', entries, ended)
end
local last = redis.call('ZSCORE', seen, id)
local fresh = tonumber(last or 0) > now - ttl
if looked ~= '*' and (fresh and redis.call('HGET', entries, id) or '') ~= looked then
  return {'changed', now}
end
if not last and (redis.call('ZCARD', seen) >= most or redis.call('ZCARD', signed) >= 2 * most) then
  return {'full', now}
end
redis.call('HSET', entries, id, entry .. string.format(',"registeredAt":%.0f', now))
redis.call('ZADD', seen, now, id)
redis.call('SET', changed, string.format('%.0f', us))
for i = 1, 3 do
  redis.call('PEXPIRE', KEYS[i], ttl)
end
note_signed(signed, id, timestamp)
return {'done', now}
