-- server/remove: take a server off the list, unless its entry is another than the one that was looked at.
-- KEYS[1] entries (hash: id, JSON up to lastSeen)   KEYS[2] when they were last seen (zset: id, ms)
-- KEYS[3] ids as a path may spell them (hash: spelling, id)
-- ARGV[1] id   ARGV[2] its spelling   ARGV[3] ms that an entry lives
-- ARGV[4] the entry that was looked at, "" for none, "*" if nobody looked
-- RETURN  {1 if it is gone, 0 if it has another entry}
local entries, seen, paths = KEYS[1], KEYS[2], KEYS[3]
local id, spelling, ttl, looked = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HEXISTS', entries, id) == 0 then
  id = redis.call('HGET', paths, spelling) or id
end
local fresh = tonumber(redis.call('ZSCORE', seen, id) or 0) > now - ttl
if looked ~= '*' and fresh and redis.call('HGET', entries, id) ~= looked then
  return {0}
end
redis.call('HDEL', entries, id)
redis.call('ZREM', seen, id)
if redis.call('HGET', paths, spelling) == id then
  redis.call('HDEL', paths, spelling)
end
return {1}
