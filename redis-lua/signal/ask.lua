-- signal/ask: open a request to pair with the holder of a code.
-- KEYS[1] the code asked (hash)   KEYS[2] the requests open to it (hash: requester, "ms-of-the-end its-address address")
-- KEYS[3] who asks (hash: requester, address of its client or the range of that)
-- ARGV[1] requester   ARGV[2] its address   ARGV[3] ttl ms   ARGV[4] open requests at most
-- ARGV[5] 1 if nobody is told of the end of a request: those that have ended go. Else signal/look ends them
-- ARGV[6] address of its client, or the range of that   ARGV[7] open requests of one such address at most
-- USES    now
-- BOUND   the requests open to the code, which are looked through once there are as many as may be
-- RETURN  {address of the holder; "" for no such code or too many requests, ms of the end}
local code, requests, askers = KEYS[1], KEYS[2], KEYS[3]
local requester, address, ttl, most, silent = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
local client, of_one = ARGV[6], tonumber(ARGV[7])

local holder = redis.call('HGET', code, 'addr')
if not holder then
  return {'', 0}
end
if redis.call('HLEN', requests) >= math.min(most, of_one) then
  local all, open, its = redis.call('HGETALL', requests), 0, 0
  for i = 1, #all, 2 do
    local ends, _, asked = all[i + 1]:match('^(%d+) (%S+) (%S+)$')
    if tonumber(ends) > now and asked == holder then
      local other = all[i] ~= requester and 1 or 0
      open = open + other
      its = its + (redis.call('HGET', askers, all[i]) == client and other or 0)
    elseif silent then
      redis.call('HDEL', requests, all[i])
      redis.call('HDEL', askers, all[i])
    end
  end
  if open >= most or its >= of_one then
    return {'', 0}
  end
end
redis.call('HSET', requests, requester, string.format('%.0f %s %s', now + ttl, address, holder))
redis.call('PEXPIRE', requests, ttl + 60000)
if redis.call('HLEN', askers) >= 2 * most then
  local all = redis.call('HGETALL', askers)
  for i = 1, #all, 2 do
    if redis.call('HEXISTS', requests, all[i]) == 0 then
      redis.call('HDEL', askers, all[i])
    end
  end
end
redis.call('HSET', askers, requester, client)
redis.call('PEXPIRE', askers, ttl + 60000)
return {holder, now + ttl}
