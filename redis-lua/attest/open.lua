-- attest/open: count a challenge that an address asks for, unless too many of its are open.
-- KEYS[1] the challenges of the address (zset: "nonce device", ms of its end)
-- ARGV[1] nonce   ARGV[2] device   ARGV[3] ttl ms   ARGV[4] open at most for one device   ARGV[5] for all of them
-- USES    now
-- RETURN  {1 if it may be made, else 0}
-- BOUND   the challenges that the address has open, ARGV[5] of them at most
local challenges, nonce, device, ttl = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local most, most_of_all = tonumber(ARGV[4]), tonumber(ARGV[5])

redis.call('ZREMRANGEBYSCORE', challenges, '-inf', now)
local open, of_device = redis.call('ZRANGE', challenges, 0, most_of_all), 0
for _, one in ipairs(open) do
  if one:sub(#nonce + 2) == device then
    of_device = of_device + 1
  end
end
if #open >= most_of_all or of_device >= most then
  return {0}
end
redis.call('ZADD', challenges, now + ttl, nonce .. ' ' .. device)
redis.call('PEXPIRE', challenges, ttl)
return {1}
