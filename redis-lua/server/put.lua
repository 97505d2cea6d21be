-- server/put: register a server, unless its entry is another than the one that was looked at; forgets some that ended.
-- KEYS[1] entries (hash: id, JSON up to lastSeen)   KEYS[2] when they were last seen (zset: id, ms)
-- KEYS[3] ids as a path may spell them (hash: spelling, id)
-- ARGV[1] id   ARGV[2] its spelling, or "" if that is the id itself   ARGV[3] entry, JSON up to registeredAt
-- ARGV[4] ms that an entry lives   ARGV[5] the entry that was looked at, "" for none, "*" if nobody looked
-- RETURN  {1 if it is registered, else 0; now ms}
local entries, seen, paths = KEYS[1], KEYS[2], KEYS[3]
local id, spelling, entry, ttl, looked = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, ended in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - ttl, 'LIMIT', 0, 100)) do
  redis.call('ZREM', seen, ended)
  redis.call('HDEL', entries, ended)
  local spelled = ended:gsub('%+', ' '):gsub('/+', '/'):gsub('^/', '')
  if redis.call('HGET', paths, spelled) == ended then
    redis.call('HDEL', paths, spelled)
  end
end
local fresh = tonumber(redis.call('ZSCORE', seen, id) or 0) > now - ttl
if looked ~= '*' and (fresh and redis.call('HGET', entries, id) or '') ~= looked then
  return {0, now}
end
redis.call('HSET', entries, id, entry .. string.format(',"registeredAt":%.0f', now))
redis.call('ZADD', seen, now, id)
if spelling ~= '' then
  local former = redis.call('HGET', paths, spelling)
  if not former or tonumber(redis.call('ZSCORE', seen, former) or 0) <= now - ttl then
    redis.call('HSET', paths, spelling, id)
  end
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ttl)
end
return {1, now}
