-- signal/withdraw: end a request to pair, because one of its two sockets has left.
-- KEYS[1] the requests open to a code (hash: requester, "ms-of-the-end its-address address")
-- KEYS[2] who asks (hash: requester, address of its client or the range of that)
-- ARGV[1] requester   ARGV[2] address of the socket that has left
-- USES    now
-- BOUND   one request
-- RETURN  {1 if it was one of them, else 0; now ms; ms of its end}
local requests, askers, requester, address = KEYS[1], KEYS[2], ARGV[1], ARGV[2]

local request = redis.call('HGET', requests, requester)
if not request then
  return {0, now, 0}
end
local ends, from, asked = request:match('^(%d+) (%S+) (%S+)$')
if from ~= address and asked ~= address then
  return {0, now, 0}
end
redis.call('HDEL', askers, requester)
return {redis.call('HDEL', requests, requester), now, tonumber(ends)}
