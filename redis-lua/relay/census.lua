-- relay/census: count the relays.
-- KEYS[1] all relays (hash)   KEYS[2] those below half load (zset)   KEYS[3] totals (hash)
-- BOUND   three sizes
-- RETURN  {relays, capacity, connected, relays below half load}
local totals = redis.call('HMGET', KEYS[3], 'capacity', 'connected')

return {redis.call('HLEN', KEYS[1]), tonumber(totals[1] or 0), tonumber(totals[2] or 0), redis.call('ZCARD', KEYS[2])}
