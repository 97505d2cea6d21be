-- attest/open: count a challenge of a device, unless too many are open.
-- KEYS[1] the device's challenges (zset: nonce, ms of its end)
-- ARGV[1] nonce   ARGV[2] ttl ms   ARGV[3] challenges open at most
-- USES    now
-- RETURN  {1 if it may be made, else 0}
local challenges, nonce, ttl, most = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

redis.call('ZREMRANGEBYSCORE', challenges, '-inf', now)
if redis.call('ZCARD', challenges) >= most then
  return {0}
end
redis.call('ZADD', challenges, now + ttl, nonce)
redis.call('PEXPIRE', challenges, ttl)
return {1}
