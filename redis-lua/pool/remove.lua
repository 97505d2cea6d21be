-- pool/remove: a member leaves the pool, unless it is at another address by now.
-- KEYS[1] members (hash: id, JSON)   KEYS[2] where they are (hash: id, "address status since")
-- KEYS[3] loads (hash: id, load)   KEYS[4] seen (zset: id, last heartbeat ms)   KEYS[5] version of the ring
-- ARGV[1] id   ARGV[2] address wid.sid   ARGV[3] channel of changes
-- USES    publish
-- BOUND   one member
-- RETURN  {1 if it was there, else 0}
local members, at, loads, seen, version = unpack(KEYS)
local id, address, channel = unpack(ARGV)

local there = redis.call('HGET', at, id)
if not there or there:match('^%S+') ~= address then
  return {0}
end
redis.call('HDEL', members, id)
redis.call('HDEL', at, id)
redis.call('HDEL', loads, id)
redis.call('ZREM', seen, id)
publish(channel, redis.call('INCR', version))
return {1}
