-- server/remove: take a server off the list, unless its entry is another than the one that was looked at.
-- KEYS[1] entries (hash: id, JSON up to lastSeen)   KEYS[2] when they were last seen (zset: id, ms)
-- KEYS[3] number of the last change of the list   KEYS[4] last timestamps that were signed (zset: id, ms)
-- ARGV[1] id   ARGV[2] ms that an entry lives   ARGV[3] the entry that was looked at, "" for none, "*" if nobody looked
-- ARGV[4] timestamp that was signed, ms; "" if none was. It stays, so that nobody can have an old write made again
-- USES    now, signed
-- RETURN  {"done": it is gone, "changed": it has another entry, or "replay": an older write than its last}
-- BOUND   timestamps of the last 2 minutes, 2 x SERVERS_MAX of them at most
local entries, seen, changed, signed = unpack(KEYS)
local id, ttl, looked, timestamp = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

if tonumber(redis.call('ZSCORE', seen, id) or 0) > now - ttl then
  if is_replay(signed, id, timestamp) then
    return {'replay'}
  elseif looked ~= '*' and redis.call('HGET', entries, id) ~= looked then
    return {'changed'}
  end
  redis.call('SET', changed, string.format('%.0f', us), 'PX', ttl)
  note_signed(signed, id, timestamp)
end
redis.call('HDEL', entries, id)
redis.call('ZREM', seen, id)
return {'done'}
