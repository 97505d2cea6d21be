-- signal/abandon: end the requests to pair that one socket was asked, because it has left or has its code no more, and
-- tell the requesters. One on a worker that does not listen is not told, and its request ends by itself.
-- KEYS[1] the requests open to the code (hash: requester, "ms-of-the-end its-address address")
-- KEYS[2] who asks (hash: requester, address of its client or the range of that)
-- ARGV[1] address of the socket that was asked   ARGV[2] wid of the sending worker   ARGV[3] what a channel begins with
-- ARGV[4] head of the frame (inbox.h)   ARGV[5] entry that names a requester, up to its code   ARGV[6] message
-- BOUND   the requests to one code
-- USES    publish
-- RETURN  {requesters told on other workers, {code, address of each on the sending worker}}
local requests, askers = KEYS[1], KEYS[2]
local address, self, channel, head, entry, message = unpack(ARGV)

local told, here = 0, {}
local all = redis.call('HGETALL', requests)
for i = 1, #all, 2 do
  local from, asked = all[i + 1]:match('^%d+ (%S+) (%S+)$')
  if asked == address then
    local result = tell(from, self, channel, head, entry .. all[i], message)
    if result == 'told' then
      told = told + 1
    elseif result == 'here' then
      here[#here + 1], here[#here + 2] = all[i], from
    end
    if result ~= 'unheard' then
      redis.call('HDEL', requests, all[i])
      redis.call('HDEL', askers, all[i])
    end
  end
end
return {told, here}
