-- fleet/forward: send a message to whoever holds an identity, if it is on another worker.
-- KEYS[1] the identity (hash)
-- ARGV[1] wid of the sending worker   ARGV[2] what a channel begins with   ARGV[3] head of the frame (inbox.h)
-- ARGV[4] entry that names the identity   ARGV[5] message
-- USES    publish
-- TEXT    goes along: no message overtakes another
-- BOUND   the bytes of the message
-- RETURN  {address of the holder or "", workers that received it, or -1: it is on the sending worker}
local self, channel, head, entry, message = unpack(ARGV)

local address = redis.call('HGET', KEYS[1], 'addr')
if not address then
  return {'', 0}
end
local _, heard = tell(address, self, channel, head, entry, message)
return {address, heard}
