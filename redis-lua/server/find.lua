-- server/find: look a server up by its id, or by an id that was changed on its way as part of a path (registry.h).
-- KEYS[1] entries (hash: id, JSON up to lastSeen)   KEYS[2] when they were last seen (zset: id, ms)
-- KEYS[3] ids as a path may spell them (hash: spelling, id)
-- ARGV[1] id   ARGV[2] its spelling   ARGV[3] ms that an entry lives
-- RETURN  {id, entry: both "" if there is none that is fresh; now ms}
local entries, seen, paths = KEYS[1], KEYS[2], KEYS[3]
local id, spelling, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HEXISTS', entries, id) == 0 then
  id = redis.call('HGET', paths, spelling) or id
end
local last = redis.call('ZSCORE', seen, id)
if not last or tonumber(last) <= now - ttl then
  return {'', '', now}
end
return {id, redis.call('HGET', entries, id), now}
