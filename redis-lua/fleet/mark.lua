-- fleet/mark: note how far a worker has come, and tell how far it had come as far as this Redis remembers. A lease that
-- has lapsed has taken the mark along: others may have cleaned up since.
-- KEYS[1] the worker (hash)
-- ARGV[1] mark, a number: greater than those before, or it comes late and is not noted   ARGV[2] lease ms
-- BOUND   one worker
-- RETURN  {the last mark, -1 if there is none; ms since the last beat, -1 if it has no lease: then nothing is noted}
local worker, mark, lease = KEYS[1], tonumber(ARGV[1]), ARGV[2]

local left = redis.call('PTTL', worker)
if left < 0 then
  return {-1, -1}
end
local last = tonumber(redis.call('HGET', worker, 'mark') or -1)
if mark > last then
  redis.call('HSET', worker, 'mark', ARGV[1])
end
return {last, lease - left}
