-- own/forget: take entries out of what a socket owns, and the socket out of the owners with the last one.
-- KEYS[1] the worker's owners (set of sids)   KEYS[2] what this socket owns (set of entries)
-- ARGV[1] sid   ARGV[2...] entries; none: only look whether any is left
-- RETURN  {entries left}
local owners, owned, sid = KEYS[1], KEYS[2], ARGV[1]

if #ARGV > 1 then
  redis.call('SREM', owned, unpack(ARGV, 2))
end
local left = redis.call('SCARD', owned)
if left == 0 then
  redis.call('SREM', owners, sid)
end
return {left}
