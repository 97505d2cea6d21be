-- chunk/evict: delete a cached chunk, unless it has been pushed again since it was to go.
-- KEYS[1] the cached chunk (hash: data, accesses, cachedAt µs, by)
-- ARGV[1] µs when it was to go   ARGV[2] address of the socket that is to know its bytes
-- BOUND   one chunk
-- RETURN  {1 if it was deleted, else 0; bytes of its data, if that socket had pushed it, else 0}
local cached = redis.call('HMGET', KEYS[1], 'cachedAt', 'by')

if not cached[1] or tonumber(cached[1]) > tonumber(ARGV[1]) then
  return {0, 0}
end
local bytes = cached[2] == redis.sha1hex(ARGV[2]) and redis.call('HSTRLEN', KEYS[1], 'data') or 0
return {redis.call('DEL', KEYS[1]), bytes}
