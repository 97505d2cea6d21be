-- claim/refresh: let an identity live on, if it is still that socket's; one that Redis has lost is given back to it.
-- KEYS[1] the identity (hash)
-- ARGV[1] address of the socket   ARGV[2] ttl ms   ARGV[3...] fields, each before its value, that are given back with it
-- RETURN  {1 if it is its, 0 if it is another's}
local identity, address, ttl = KEYS[1], ARGV[1], ARGV[2]

local holder = redis.call('HGET', identity, 'addr')
if holder and holder ~= address then
  return {0}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not holder then
  redis.call('HSET', identity, 'addr', address, 'registeredAt', now, unpack(ARGV, 3))
end
redis.call('HSET', identity, 'lastUpdate', now)
redis.call('PEXPIRE', identity, ttl)
return {1}
