-- server/beat: a server is seen. That changes the list, too, but whoever reads it hears of it within a second only.
-- KEYS[1] entries (hash: id, JSON up to lastSeen)   KEYS[2] when they were last seen (zset: id, ms)
-- KEYS[3] number of the last change of the list   KEYS[4] last timestamps that were signed (zset: id, ms)
-- ARGV[1] id   ARGV[2] ms that an entry lives   ARGV[3] its entry as it was looked at, or "*" if nobody looked
-- ARGV[4] timestamp that was signed, ms; "" if none was
-- USES    now, signed
-- RETURN  {"done", "gone": it is not there, or "replay": an older write than its last}
-- BOUND   timestamps of the last 2 minutes, 2 x SERVERS_MAX of them at most
local entries, seen, _, signed = unpack(KEYS)
local id, ttl, looked, timestamp = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local last, entry = redis.call('ZSCORE', seen, id), redis.call('HGET', entries, id)
if not last or tonumber(last) <= now - ttl or not entry or (looked ~= '*' and entry ~= looked) then
  return {'gone'}
end
if is_replay(signed, id, timestamp) then
  return {'replay'}
end
redis.call('ZADD', seen, now, id)
for i = 1, 3 do
  redis.call('PEXPIRE', KEYS[i], ttl)
end
note_signed(signed, id, timestamp)
return {'done'}
