-- claim/refresh: let an identity live on, if it is still that socket's; one that Redis has lost is given back to it.
-- KEYS[1] the identity (hash)
-- ARGV[1] address of the socket   ARGV[2] address that it had under a former wid of its worker, or ""   ARGV[3] ttl ms
-- USES    now
-- BOUND   one identity
-- RETURN  {0 if it is another's, 1 if it is its, 2 if it is its again: it was lost, or at the former address}
local identity, address, former, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local holder = redis.call('HGET', identity, 'addr')
if holder and holder ~= address and holder ~= former then
  return {0}
end
if not holder then
  redis.call('HDEL', identity, 'keptFor')
  redis.call('HSET', identity, 'registeredAt', now)
end
redis.call('HSET', identity, 'addr', address, 'lastUpdate', now)
redis.call('PEXPIRE', identity, ttl)
return {holder == address and 1 or 2}
