-- chunk/evict: delete a cached chunk, unless it has been pushed again since it was to go.
-- KEYS[1] the cached chunk (hash: data, accesses, cachedAt µs)
-- ARGV[1] µs when it was to go
-- RETURN  {1 if it was deleted, else 0}
local cached_at = redis.call('HGET', KEYS[1], 'cachedAt')

if not cached_at or tonumber(cached_at) > tonumber(ARGV[1]) then
  return {0}
end
return {redis.call('DEL', KEYS[1])}
