-- claim/refresh: let an identity live on, if it is still that socket's.
-- KEYS[1] the identity (hash)
-- ARGV[1] address of the socket   ARGV[2] ttl ms
-- RETURN  {1 if it was refreshed, else 0}
local identity, address, ttl = KEYS[1], ARGV[1], ARGV[2]

if redis.call('HGET', identity, 'addr') ~= address then
  return {0}
end
local time = redis.call('TIME')
redis.call('HSET', identity, 'lastUpdate', time[1] .. string.format('%03d', math.floor(time[2] / 1000)))
return {redis.call('PEXPIRE', identity, ttl)}
