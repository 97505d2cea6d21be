-- claim/release: take an identity away from a socket, unless a successor has it.
-- KEYS[1] the identity (hash)
-- ARGV[1] address of the socket
-- BOUND   one identity
-- RETURN  {1 if it was its, else 0}
local identity, address = KEYS[1], ARGV[1]

if redis.call('HGET', identity, 'addr') ~= address then
  return {0}
end
return {redis.call('DEL', identity)}
