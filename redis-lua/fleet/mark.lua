-- fleet/mark: note how far a worker has come, and tell how far it had come as far as this Redis remembers. A lease that
-- has lapsed has taken the mark along: others may have cleaned up since.
-- KEYS[1] the worker (hash)
-- ARGV[1] mark, a number: greater than those before   ARGV[2] lease ms
-- RETURN  {the last mark, -1 if there is none; ms since the last beat, -1 if it has no lease: then nothing is noted}
local worker, mark, lease = KEYS[1], ARGV[1], ARGV[2]

local left = redis.call('PTTL', worker)
if left < 0 then
  return {-1, -1}
end
local last = redis.call('HGET', worker, 'mark')
redis.call('HSET', worker, 'mark', mark)
return {tonumber(last or -1), lease - left}
