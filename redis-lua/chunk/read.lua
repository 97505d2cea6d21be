-- chunk/read: read a cached chunk and count the access.
-- KEYS[1] the cached chunk (hash: data, accesses, cachedAt µs, by)
-- BOUND   the bytes of the chunk
-- RETURN  {data or ""}
local data = redis.call('HGET', KEYS[1], 'data')

if not data then
  return {''}
end
redis.call('HINCRBY', KEYS[1], 'accesses', 1)
return {data}
