-- signal/look: see how long a request to pair stays open; one whose time is over ends, and the requester is told.
-- A requester on a worker that does not listen is not told, and its request is to be looked at again.
-- KEYS[1] the requests open to a code (hash: requester, "ms-of-the-end its-address address")
-- KEYS[2] who asks (hash: requester, address of its client or the range of that)
-- ARGV[1] requester   ARGV[2] wid of the sending worker   ARGV[3] what a channel begins with
-- ARGV[4] head of the frame (inbox.h)   ARGV[5] entry that names the requester   ARGV[6] message
-- USES    now, publish
-- BOUND   one request, and the bytes of the message
-- RETURN  {"none": no such request, "open", and of one whose time is over: "unheard", "told", or "here": the requester is
--          on the sending worker; address of the requester; address of the one asked; ms left; now ms}
local requests, askers = KEYS[1], KEYS[2]
local requester, self, channel, head, entry, message = unpack(ARGV)

local request = redis.call('HGET', requests, requester)
if not request then
  return {'none', '', '', 0, now}
end
local ends, from, asked = request:match('^(%d+) (%S+) (%S+)$')
local left = tonumber(ends) - now
if left > 0 then
  return {'open', from, asked, left, now}
end
local result = tell(from, self, channel, head, entry, message)
if result ~= 'unheard' then
  redis.call('HDEL', requests, requester)
  redis.call('HDEL', askers, requester)
end
return {result, from, asked, 0, now}
