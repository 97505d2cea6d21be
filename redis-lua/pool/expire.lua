-- pool/expire: members that have been silent for too long leave the pool. Workers call it again and again; when nobody
-- has for a while, Redis was away or stood still, and heartbeats may be waiting: then all have that time once more.
-- KEYS[1] members (hash: id, JSON)   KEYS[2] where they are (hash: id, "address status since")
-- KEYS[3] loads (hash: id, load)   KEYS[4] seen (zset: id, last heartbeat ms)   KEYS[5] version of the ring
-- KEYS[6] watch (hash: born, last, from: ms when it was made, last called, and called without a pause since)
-- ARGV[1] ms of silence   ARGV[2] ms between two calls at most   ARGV[3] how many at most   ARGV[4] channel of changes
-- USES    now, publish
-- BOUND   how many at most are looked at
-- RETURN  {version of the ring, ms when the pool was made, {ids of those that left}}
local members, at, loads, seen, version, watch = unpack(KEYS)
local silence, pause, most, channel = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]

local text = string.format('%.0f', now)
redis.call('HSETNX', watch, 'born', text)
redis.call('SET', version, text, 'NX')
local watched = redis.call('HMGET', watch, 'last', 'from', 'born')
if not watched[1] or math.abs(now - watched[1]) > pause then
  watched[2] = text
  redis.call('HSET', watch, 'from', text)
end
redis.call('HSET', watch, 'last', text)
-- Where the clock was set back, the heartbeats before that lie ahead: they count from now on.
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', seen, '(' .. text, '+inf', 'LIMIT', 0, most)) do
  redis.call('ZADD', seen, text, ahead)
end
local silent = {}
if now - watched[2] >= silence then
  silent = redis.call('ZRANGEBYSCORE', seen, '-inf', now - silence, 'LIMIT', 0, most)
end
if #silent > 0 then
  redis.call('HDEL', members, unpack(silent))
  redis.call('HDEL', at, unpack(silent))
  redis.call('HDEL', loads, unpack(silent))
  redis.call('ZREM', seen, unpack(silent))
  publish(channel, redis.call('INCR', version))
end
return {tonumber(redis.call('GET', version)), tonumber(watched[3]), silent}
