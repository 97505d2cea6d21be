-- signal/leave: a code is not among the members of a room any more, unless a successor has it; the others are told.
-- KEYS[1] the room's members (hash: code, address)
-- ARGV[1] code   ARGV[2] address   ARGV[3] members of a room that is told at most   ARGV[4] its channel   ARGV[5] frame
-- USES    publish
-- BOUND   one code, and the bytes of the frame
-- RETURN  {members left, 1 if it was among them at that address}
local members, code, address, most, channel, frame = KEYS[1], unpack(ARGV)

if redis.call('HGET', members, code) ~= address then
  return {redis.call('HLEN', members), 0}
end
redis.call('HDEL', members, code)
local count = redis.call('HLEN', members)
if count > 0 and count < tonumber(most) then
  publish(channel, frame)
end
return {count, 1}
