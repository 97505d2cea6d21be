-- pool/put: a member joins the pool, comes back to it, or changes what it has registered; unless a later one has its id.
-- KEYS[1] members (hash: id, JSON)   KEYS[2] where they are (hash: id, "address status since")
-- KEYS[3] loads (hash: id, load)   KEYS[4] seen (zset: id, last heartbeat ms)   KEYS[5] version of the ring
-- KEYS[6] watch (hash: born, ms when the pool was made)
-- ARGV[1] id   ARGV[2] address wid.sid   ARGV[3] ms since when it holds its id   ARGV[4] JSON   ARGV[5] status
-- ARGV[6] load   ARGV[7] channel of changes
-- USES    now, publish
-- BOUND   one member, and the bytes of what it registers
-- RETURN  {version of the ring, or 0: a later one has the id}
local members, at, loads, seen, version, watch = unpack(KEYS)
local id, address, since, record, status, load, channel = unpack(ARGV)

local there = redis.call('HGET', at, id)
if there and tonumber(there:match('%d+$')) > tonumber(since) then
  return {0}
end
local ms = string.format('%.0f', now)
-- A Redis that has lost the pool does not begin again with numbers that members have seen.
redis.call('SET', version, ms, 'NX')
redis.call('HSETNX', watch, 'born', ms)
redis.call('ZADD', seen, now, id)
local is_at = address .. ' ' .. status .. ' ' .. since
if there == is_at and redis.call('HGET', members, id) == record and redis.call('HGET', loads, id) == load then
  return {tonumber(redis.call('GET', version))}
end
redis.call('HSET', members, id, record)
redis.call('HSET', at, id, is_at)
redis.call('HSET', loads, id, load)
local number = redis.call('INCR', version)
publish(channel, number)
return {number}
