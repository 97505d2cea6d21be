-- claim/take: give an identity to a socket, if it is free, its own already, or held by the socket it may replace.
-- KEYS[1] the identity (hash)
-- ARGV[1] address of the claimer   ARGV[2] address it may replace, or ""   ARGV[3] ttl ms
-- RETURN  {address of the holder that keeps it, or "" when it was given}
local identity = KEYS[1]
local claimer, replaceable, ttl = ARGV[1], ARGV[2], ARGV[3]

local holder = redis.call('HGET', identity, 'addr')
if holder and holder ~= claimer and holder ~= replaceable then
  return {holder}
end
local time = redis.call('TIME')
local now = time[1] .. string.format('%03d', math.floor(time[2] / 1000))
if holder ~= claimer then
  redis.call('HSET', identity, 'addr', claimer, 'registeredAt', now)
end
redis.call('HSET', identity, 'lastUpdate', now)
redis.call('PEXPIRE', identity, ttl)
return {''}
