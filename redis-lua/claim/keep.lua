-- claim/keep: take an identity away from a socket that is closed because it did not read, and keep it for the address
-- of its client for a moment: others have nothing of it.
-- KEYS[1] the identity (hash)
-- ARGV[1] address of the socket   ARGV[2] address of its client, or the range of that   ARGV[3] how long, ms
-- BOUND   one hash of a few short fields
-- RETURN  {1 if it was its, else 0}
local identity, address, client, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

if redis.call('HGET', identity, 'addr') ~= address then
  return {0}
end
redis.call('DEL', identity)
redis.call('HSET', identity, 'keptFor', client)
redis.call('PEXPIRE', identity, ttl)
return {1}
