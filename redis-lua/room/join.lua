-- room/join: take a peer into a room if there is a place, tell the others, and list who is in it.
-- KEYS[1] the room (hash: created_at, max_peers)   KEYS[2] its peers (hash: peer, "address info")
-- ARGV[1] peer   ARGV[2] its address   ARGV[3] its info, JSON up to joined_at   ARGV[4] peers of a new room at most, or 0
-- ARGV[5] "new", or "again" if it had its place and Redis may have lost it
-- ARGV[6] the room's channel   ARGV[7] head of the frame (inbox.h)   ARGV[8] message, up to the info
-- USES    now, publish
-- BOUND   the peers of the room, all of which it tells a new one, and the bytes of the message
-- RETURN  {"joined", "full" or "there"; µs of the event; {peer, "address info", ...}, empty if not "joined" and "new"}
local room, peers = KEYS[1], KEYS[2]
local peer, address, info, most, how, channel, head, message = unpack(ARGV)

local ms = string.format('%.0f', now)
local record = redis.call('HGET', peers, peer)
if record then
  if how == 'again' then
    redis.call('HSET', peers, peer, address .. record:match(' .*'))
  end
  return {how == 'new' and 'joined' or 'there', us, how == 'new' and redis.call('HGETALL', peers) or {}}
end
local limit = tonumber(redis.call('HGET', room, 'max_peers') or most)
if limit > 0 and redis.call('HLEN', peers) >= limit then
  return {'full', us, {}}
end
redis.call('HSETNX', room, 'created_at', ms)
redis.call('HSETNX', room, 'max_peers', most)
redis.call('PERSIST', room)
info = info .. ',"joined_at":' .. ms .. '}'
redis.call('HSET', peers, peer, address .. ' ' .. info)
publish(channel, frame_to(head, us, '', message .. info .. ',"timestamp":' .. ms .. '}'))
return {'joined', us, how == 'new' and redis.call('HGETALL', peers) or {}}
