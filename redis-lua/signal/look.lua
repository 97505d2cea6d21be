-- signal/look: see how long a request to pair stays open; one whose time is over ends.
-- KEYS[1] the requests open to a code (hash: requester, "ms-of-the-end its-address address")
-- ARGV[1] requester
-- RETURN  {address of the requester or "" if there is none, address of the one asked, ms left, now ms}
local requests, requester = KEYS[1], ARGV[1]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local request = redis.call('HGET', requests, requester)
if not request then
  return {'', '', 0, now}
end
local ends, from, asked = request:match('^(%d+) (%S+) (%S+)$')
local left = math.max(tonumber(ends) - now, 0)
if left == 0 then
  redis.call('HDEL', requests, requester)
end
return {from, asked, left, now}
