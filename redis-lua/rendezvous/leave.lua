-- rendezvous/leave: remove a peer's entry from a daily point or an hourly token, unless a successor made it.
-- KEYS[1] the meeting (hash: peer, "address since LF text"; TAB peer, "address range")
-- KEYS[2] when its entries end (zset: peer, ms)
-- ARGV[1] peer   ARGV[2] address
-- BOUND   one entry
-- RETURN  {1 if it was removed, else 0}
local meeting, ends = KEYS[1], KEYS[2]
local peer, address = ARGV[1], ARGV[2]

local entry = redis.call('HGET', meeting, peer)
if not entry or entry:sub(1, #address + 1) ~= address .. ' ' then
  return {0}
end
redis.call('HDEL', meeting, peer, '\t' .. peer)
redis.call('ZREM', ends, peer)
return {1}
