-- relay/load: note how many connections a relay has.
-- KEYS[1] all relays (hash: peer, "address connected max public-key")
-- KEYS[2] those below half load (zset)   KEYS[3] totals (hash)
-- ARGV[1] peer   ARGV[2] address   ARGV[3] connected count
-- BOUND   one relay
-- RETURN  {1 if the peer is a relay at that address, else 0}
local all, free, totals = KEYS[1], KEYS[2], KEYS[3]
local peer, address, connected = ARGV[1], ARGV[2], tonumber(ARGV[3])

local record = redis.call('HGET', all, peer)
local holder, old, max, public_key
if record then
  holder, old, max, public_key = record:match('^(%S+) (%d+) (%d+) (.*)$')
end
if holder ~= address then
  return {0}
end
redis.call('HSET', all, peer, string.format('%s %.0f %s %s', address, connected, max, public_key))
redis.call('HINCRBY', totals, 'connected', string.format('%.0f', connected - tonumber(old)))
if connected * 2 < tonumber(max) then
  redis.call('ZADD', free, 0, peer)
else
  redis.call('ZREM', free, peer)
end
return {1}
