-- fleet/resign: stop leading the fleet, so that another may at once.
-- KEYS[1] the leader (hash)
-- ARGV[1] wid
-- BOUND   one leader
-- RETURN  {1 if it was the last to lead, else 0}
local leader, wid = KEYS[1], ARGV[1]

local known = redis.call('HMGET', leader, 'wid', 'until')
if known[1] ~= wid then
  return {0}
end
if known[2] ~= '0' then
  redis.call('HSET', leader, 'until', 0)
end
return {1}
