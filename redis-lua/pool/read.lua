-- pool/read: all members of the pool as they are at one moment.
-- KEYS[1] members (hash: id, JSON)   KEYS[2] where they are (hash: id, "address status since")
-- KEYS[3] loads (hash: id, load)   KEYS[4] seen (zset: id, last heartbeat ms)   KEYS[5] version of the ring
-- KEYS[6] watch (hash: born, ms when the pool was made)
-- BOUND   the members of the pool, all of which it tells
-- RETURN  {version of the ring, ms when the pool was made, both 0 where Redis knows of none, {id, JSON, ...},
--   {id, "address status since", ...}, {id, load, ...}, {id, ms, ...}}
local members, at, loads, seen, version, watch = unpack(KEYS)

return {tonumber(redis.call('GET', version) or 0), tonumber(redis.call('HGET', watch, 'born') or 0),
  redis.call('HGETALL', members), redis.call('HGETALL', at), redis.call('HGETALL', loads), redis.call('ZRANGE', seen, 0, -1, 'WITHSCORES')}
