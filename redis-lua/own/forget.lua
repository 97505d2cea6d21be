-- own/forget: take entries out of what a socket owns, and the socket out of the owners with the last one.
-- KEYS[1] the worker's owners (set of sids)   KEYS[2] what this socket owns (zset: entry, ms of its end)
-- ARGV[1] sid   ARGV[2...] entries; none: only look whether any is left
-- BOUND   the entries given, 1,000 at most
-- RETURN  {entries left}
local owners, owned, sid = KEYS[1], KEYS[2], ARGV[1]

if #ARGV > 1 then
  redis.call('ZREM', owned, unpack(ARGV, 2))
end
local left = redis.call('ZCARD', owned)
if left == 0 then
  redis.call('SREM', owners, sid)
end
return {left}
