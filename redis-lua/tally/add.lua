-- tally/add: put entries on one of the fleet's lists, which the statistics read.
-- KEYS[1] the list (zset: "name TAB address peer", ms of its end)   KEYS[2] entries of each name (hash)
-- ARGV[1] ttl ms   ARGV[2...] entries, "name TAB address peer"
-- USES    now
-- BOUND   the entries given
-- RETURN  {entries that are new}
local list, counts = KEYS[1], KEYS[2]

local ends = now + tonumber(ARGV[1])
local new = 0
for i = 2, #ARGV do
  if redis.call('ZADD', list, ends, ARGV[i]) == 1 then
    redis.call('HINCRBY', counts, ARGV[i]:match('^[^\t]*'), 1)
    new = new + 1
  end
end
return {new}
