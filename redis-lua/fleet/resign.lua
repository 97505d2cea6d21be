-- fleet/resign: stop leading the fleet, so that another may at once.
-- KEYS[1] the leader (hash)
-- ARGV[1] wid
-- RETURN  {1 if it was the last to lead, else 0}
local leader, wid = KEYS[1], ARGV[1]

if redis.call('HGET', leader, 'wid') ~= wid then
  return {0}
end
redis.call('HSET', leader, 'until', 0)
return {1}
