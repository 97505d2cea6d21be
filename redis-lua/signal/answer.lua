-- signal/answer: end a request to pair, because it is answered by the socket that was asked.
-- KEYS[1] the requests open to its code (hash: requester, "ms-of-the-end its-address address")
-- ARGV[1] requester   ARGV[2] address of the one who answers
-- RETURN  {address of the requester, or "" if there is no such request; now ms}
local requests, requester, address = KEYS[1], ARGV[1], ARGV[2]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local request = redis.call('HGET', requests, requester)
if not request then
  return {'', now}
end
local ends, from, asked = request:match('^(%d+) (%S+) (%S+)$')
if asked ~= address then
  return {'', now}
end
redis.call('HDEL', requests, requester)
return {tonumber(ends) > now and from or '', now}
