-- room/leave: a peer is not in a room any more; the others are told. A room that is empty ends by itself.
-- KEYS[1] the room (hash: created_at, max_peers)   KEYS[2] its peers (hash: peer, "address info")
-- ARGV[1] peer   ARGV[2] its address   ARGV[3] ms that an empty room lives
-- ARGV[4] the room's channel   ARGV[5] head of the frame (inbox.h)   ARGV[6] message, up to its timestamp
-- USES    now, publish
-- BOUND   one peer, and the bytes of the message
-- RETURN  {peers left, or -1 if it was not in it; now ms}
local room, peers = KEYS[1], KEYS[2]
local peer, address, ttl, channel, head, message = unpack(ARGV)

local record = redis.call('HGET', peers, peer)
if not record or record:match('^%S+') ~= address then
  return {-1, now}
end
redis.call('HDEL', peers, peer)
local left = redis.call('HLEN', peers)
if left == 0 then
  redis.call('PEXPIRE', room, ttl)
else
  publish(channel, frame_to(head, us, '', message .. string.format('%.0f}', now)))
end
return {left, now}
