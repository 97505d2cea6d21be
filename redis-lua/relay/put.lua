-- relay/put: put a peer into the relay registry, or refresh it; its connected count survives.
-- KEYS[1] all relays (hash: peer, "address connected max public-key")
-- KEYS[2] those below half load (zset)   KEYS[3] totals (hash)
-- ARGV[1] peer   ARGV[2] address   ARGV[3] max connections   ARGV[4] public key or ""
-- ARGV[5] connected count of one that is not there
-- TEXT    goes along: its answer comes before that to relay/pick, which is sent behind it
-- BOUND   one relay
-- RETURN  {connected count}
local all, free, totals = KEYS[1], KEYS[2], KEYS[3]
local peer, address, max, public_key = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local connected, old_max = tonumber(ARGV[5]), 0
local record = redis.call('HGET', all, peer)
if record then
  local c, m = record:match('^%S+ (%d+) (%d+) ')
  connected, old_max = tonumber(c), tonumber(m)
else
  redis.call('HINCRBY', totals, 'connected', connected)
end
redis.call('HSET', all, peer, string.format('%s %.0f %.0f %s', address, connected, max, public_key))
redis.call('HINCRBY', totals, 'capacity', max - old_max)
if connected * 2 < max then
  redis.call('ZADD', free, 0, peer)
else
  redis.call('ZREM', free, peer)
end
return {connected}
