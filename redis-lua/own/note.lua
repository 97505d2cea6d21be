-- own/note: remember what a socket is about to register.
-- KEYS[1] the worker's owners (set of sids)   KEYS[2] what this socket owns (set of entries)
-- ARGV[1] sid   ARGV[2...] entries
-- RETURN  {entries that are new}
local owners, owned = KEYS[1], KEYS[2]

redis.call('SADD', owners, ARGV[1])
return {redis.call('SADD', owned, unpack(ARGV, 2))}
