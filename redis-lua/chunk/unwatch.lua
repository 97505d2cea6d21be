-- chunk/unwatch: a chunk has no pull under way, as was decided; one that began later is watched on.
-- KEYS[1] pulls (zset: chunk, ms by which its source is to push)
-- ARGV[1] chunk   ARGV[2] ms of the decision   ARGV[3] pull time-out ms
-- RETURN  {1 if it is watched no more, else 0}
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])

if not score or tonumber(score) > ARGV[2] + ARGV[3] then
  return {0}
end
return {redis.call('ZREM', KEYS[1], ARGV[1])}
