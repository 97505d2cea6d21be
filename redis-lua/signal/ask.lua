-- signal/ask: open a request to pair with the holder of a code.
-- KEYS[1] the code asked (hash)   KEYS[2] the requests open to it (hash: requester, "ms-of-the-end its-address address")
-- ARGV[1] requester   ARGV[2] its address   ARGV[3] ttl ms   ARGV[4] open requests at most
-- ARGV[5] 1 if nobody is told of the end of a request: those that have ended go. Else signal/look ends them
-- USES    now
-- RETURN  {address of the holder; "" for no such code or too many requests, ms of the end}
local code, requests = KEYS[1], KEYS[2]
local requester, address, ttl, most, silent = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'

local holder = redis.call('HGET', code, 'addr')
if not holder then
  return {'', 0}
end
if redis.call('HLEN', requests) >= most and redis.call('HEXISTS', requests, requester) == 0 then
  local all, open = redis.call('HGETALL', requests), 0
  for i = 1, #all, 2 do
    local ends, _, asked = all[i + 1]:match('^(%d+) (%S+) (%S+)$')
    if tonumber(ends) > now and asked == holder then
      open = open + 1
    elseif silent then
      redis.call('HDEL', requests, all[i])
    end
  end
  if open >= most then
    return {'', 0}
  end
end
redis.call('HSET', requests, requester, string.format('%.0f %s %s', now + ttl, address, holder))
redis.call('PEXPIRE', requests, ttl + 60000)
return {holder, now + ttl}
