-- rendezvous/meet: leave a peer's entry at a daily point or an hourly token, and read the others' there.
-- KEYS[1] the meeting (hash: peer, "address since LF text")   KEYS[2] when its entries end (zset: peer, ms)
-- ARGV[1] peer   ARGV[2] its address   ARGV[3] ms since when it has its id there   ARGV[4] text for the others
-- ARGV[5] ttl ms   ARGV[6] entries kept at most   ARGV[7] bytes of others' entries in the reply at most
-- USES    now
-- RETURN  {1, or 0 if a later holder of the peer's id has registered here, {peer, entry, peer, entry, ...} newest first,
--          {"address peer" of entries that were dropped, being the oldest of too many}, entries left out of the reply}
local meeting, ends = KEYS[1], KEYS[2]
local peer, address, since, text = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local ttl, most, budget = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local own = redis.call('HGET', meeting, peer)
if own then
  local held_at, held_since = own:match('^(%S+) (%d+)\n')
  if held_at ~= address and tonumber(held_since) > since then
    return {0, {}, {}, 0}
  end
end

local ended = redis.call('ZRANGEBYSCORE', ends, '-inf', now)
if #ended > 0 then
  redis.call('HDEL', meeting, unpack(ended))
  redis.call('ZREM', ends, unpack(ended))
end
local others, left_out = {}, 0
for _, other in ipairs(redis.call('ZREVRANGE', ends, 0, -1)) do
  if other ~= peer then
    local size = redis.call('HSTRLEN', meeting, other)
    if size <= budget then
      budget = budget - size
      others[#others + 1] = other
      others[#others + 1] = redis.call('HGET', meeting, other)
    else
      left_out = left_out + 1
    end
  end
end

-- Entries of one millisecond keep their order too: the new one is never the oldest.
local newest = redis.call('ZREVRANGE', ends, 0, 0, 'WITHSCORES')[2]
local score = now + ttl
if newest and tonumber(newest) >= score and tonumber(newest) < score + 1 then
  score = tonumber(newest) + 0.001
end
redis.call('HSET', meeting, peer, string.format('%s %.0f\n%s', address, since, text))
redis.call('ZADD', ends, string.format('%.3f', score), peer)
local dropped = {}
local too_many = redis.call('ZCARD', ends) - most
if too_many > 0 then
  local oldest = redis.call('ZRANGE', ends, 0, too_many - 1)
  for i, entry in ipairs(redis.call('HMGET', meeting, unpack(oldest))) do
    dropped[i] = (entry or ''):match('^%S*') .. ' ' .. oldest[i]
  end
  redis.call('HDEL', meeting, unpack(oldest))
  redis.call('ZREM', ends, unpack(oldest))
end
if redis.call('PTTL', ends) < ttl then
  redis.call('PEXPIRE', meeting, ttl)
  redis.call('PEXPIRE', ends, ttl)
end
return {1, others, dropped, left_out}
