-- signal/answer: end a request to pair, because the socket that was asked answers, and send the requester its answer.
-- A requester on a worker that does not listen is not told, and its request stays open.
-- KEYS[1] the requests open to its code (hash: requester, "ms-of-the-end its-address address")
-- KEYS[2] who asks (hash: requester, address of its client or the range of that)
-- ARGV[1] requester   ARGV[2] address of the one who answers   ARGV[3] address of the requester
-- ARGV[4] wid of the sending worker   ARGV[5] what a channel begins with   ARGV[6] head of the frame (inbox.h)
-- ARGV[7] entry that names the requester   ARGV[8] message
-- USES    now, publish
-- BOUND   one request, and the bytes of the message
-- RETURN  {"none": no such request, "unheard", "told", or "here": the requester is on the sending worker; now ms; ms of its end}
local requests, askers = KEYS[1], KEYS[2]
local requester, address, asker, self, channel, head, entry, message = unpack(ARGV)

local request = redis.call('HGET', requests, requester)
if not request then
  return {'none', now, 0}
end
local ends, from, asked = request:match('^(%d+) (%S+) (%S+)$')
if asked ~= address or from ~= asker or tonumber(ends) <= now then
  return {'none', now, 0}
end
local result = tell(from, self, channel, head, entry, message)
if result ~= 'unheard' then
  redis.call('HDEL', requests, requester)
  redis.call('HDEL', askers, requester)
end
return {result, now, tonumber(ends)}
