-- pool/beat: a heartbeat of a member, perhaps with its load; the ring changes when it gets full, or has room again.
-- KEYS[1] members (hash: id, JSON)   KEYS[2] where they are (hash: id, "address status since")
-- KEYS[3] loads (hash: id, load)   KEYS[4] seen (zset: id, last heartbeat ms)   KEYS[5] version of the ring
-- ARGV[1] id   ARGV[2] address wid.sid   ARGV[3] load, or "": as before   ARGV[4] channel of changes
-- USES    now, publish
-- BOUND   one member, and the bytes of what it registered
-- RETURN  {1, or 0: no member has that id and address}
local members, at, loads, seen, version = unpack(KEYS)
local id, address, load, channel = unpack(ARGV)

local there = redis.call('HGET', at, id)
if not there or there:match('^%S+') ~= address then
  return {0}
end
redis.call('ZADD', seen, now, id)
local before = redis.call('HGET', loads, id)
if load == '' or load == before then
  return {1}
end
redis.call('HSET', loads, id, load)
local capacity = cjson.decode(redis.call('HGET', members, id)).capacity
local healthy = there:match('^%S+ healthy ')
if healthy and (tonumber(load) < capacity) ~= (tonumber(before) < capacity) then
  publish(channel, redis.call('INCR', version))
end
return {1}
