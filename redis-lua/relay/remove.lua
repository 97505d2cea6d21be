-- relay/remove: take a peer out of the relay registry, unless a successor has its id.
-- KEYS[1] all relays (hash: peer, "address connected max public-key")
-- KEYS[2] those below half load (zset)   KEYS[3] totals (hash)
-- ARGV[1] peer   ARGV[2] address
-- BOUND   one relay
-- RETURN  {1 if it was removed, else 0}
local all, free, totals = KEYS[1], KEYS[2], KEYS[3]
local peer, address = ARGV[1], ARGV[2]

local record = redis.call('HGET', all, peer)
local holder, connected, max
if record then
  holder, connected, max = record:match('^(%S+) (%d+) (%d+) ')
end
if holder ~= address then
  return {0}
end
redis.call('HDEL', all, peer)
redis.call('ZREM', free, peer)
if redis.call('EXISTS', all) == 0 then
  redis.call('DEL', totals)
else
  redis.call('HINCRBY', totals, 'capacity', 0 - tonumber(max))
  redis.call('HINCRBY', totals, 'connected', 0 - tonumber(connected))
end
return {1}
