-- signal/answer: end a request to pair, because it is answered by the socket that was asked.
-- KEYS[1] the requests open to its code (hash: requester, "ms-of-the-end its-address address")
-- ARGV[1] requester   ARGV[2] address of the one who answers   ARGV[3] address of the requester
-- RETURN  {1 if it was open, 0 if there is no such request; now ms; ms of its end}
local requests, requester, address, asker = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local request = redis.call('HGET', requests, requester)
if not request then
  return {0, now, 0}
end
local ends, from, asked = request:match('^(%d+) (%S+) (%S+)$')
if asked ~= address or from ~= asker then
  return {0, now, 0}
end
redis.call('HDEL', requests, requester)
return {tonumber(ends) > now and 1 or 0, now, tonumber(ends)}
