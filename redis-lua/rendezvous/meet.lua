-- rendezvous/meet: leave a peer's entry at a daily point or an hourly token, and read the others' there.
-- KEYS[1] the meeting (hash: peer, "address LF text")   KEYS[2] when its entries end (zset: peer, ms)
-- ARGV[1] peer   ARGV[2] its entry   ARGV[3] ttl ms   ARGV[4] entries kept at most
-- RETURN  {{peer, entry, peer, entry, ...}, {peers whose entry was dropped, being the oldest of too many}}
local meeting, ends = KEYS[1], KEYS[2]
local peer, entry, ttl, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ended = redis.call('ZRANGEBYSCORE', ends, '-inf', now)
if #ended > 0 then
  redis.call('HDEL', meeting, unpack(ended))
  redis.call('ZREM', ends, unpack(ended))
end
local others = {}
local everybody = redis.call('HGETALL', meeting)
for i = 1, #everybody, 2 do
  if everybody[i] ~= peer then
    others[#others + 1] = everybody[i]
    others[#others + 1] = everybody[i + 1]
  end
end
-- Entries of one millisecond keep their order too: the new one is never the oldest.
local newest = redis.call('ZREVRANGE', ends, 0, 0, 'WITHSCORES')[2]
local score = now + ttl
if newest and tonumber(newest) >= score and tonumber(newest) < score + 1 then
  score = tonumber(newest) + 0.001
end
redis.call('HSET', meeting, peer, entry)
redis.call('ZADD', ends, string.format('%.3f', score), peer)
local dropped = {}
local too_many = redis.call('ZCARD', ends) - most
if too_many > 0 then
  dropped = redis.call('ZRANGE', ends, 0, too_many - 1)
  redis.call('HDEL', meeting, unpack(dropped))
  redis.call('ZREM', ends, unpack(dropped))
end
if redis.call('PTTL', ends) < ttl then
  redis.call('PEXPIRE', meeting, ttl)
  redis.call('PEXPIRE', ends, ttl)
end
return {others, dropped}
