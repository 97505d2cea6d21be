-- server/find: look a server up.
-- KEYS[1] entries (hash: id, JSON up to lastSeen)   KEYS[2] when they were last seen (zset: id, ms)
-- ARGV[1] id   ARGV[2] ms that an entry lives
-- USES    now
-- RETURN  {its entry, "" if there is none that is fresh; now ms}
-- BOUND   constant
local entries, seen = KEYS[1], KEYS[2]
local id, ttl = ARGV[1], tonumber(ARGV[2])

local last = redis.call('ZSCORE', seen, id)
if not last or tonumber(last) <= now - ttl then
  return {'', now}
end
return {redis.call('HGET', entries, id), now}
