-- signal/withdraw: end a request to pair, because one of its two sockets has left.
-- KEYS[1] the requests open to a code (hash: requester, "ms-of-the-end its-address address")
-- ARGV[1] requester   ARGV[2] address of the socket that has left
-- USES    now
-- RETURN  {1 if it was one of them, else 0; now ms; ms of its end}
local requests, requester, address = KEYS[1], ARGV[1], ARGV[2]

local request = redis.call('HGET', requests, requester)
if not request then
  return {0, now, 0}
end
local ends, from, asked = request:match('^(%d+) (%S+) (%S+)$')
if from ~= address and asked ~= address then
  return {0, now, 0}
end
return {redis.call('HDEL', requests, requester), now, tonumber(ends)}
