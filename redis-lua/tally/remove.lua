-- tally/remove: take entries off one of the fleet's lists.
-- KEYS[1] the list (zset: "name TAB address peer", ms of its end)   KEYS[2] entries of each name (hash)
-- ARGV[1...] entries, "name TAB address peer"
-- BOUND   the entries given
-- RETURN  {entries that were on it}
local list, counts = KEYS[1], KEYS[2]

local removed = 0
for i = 1, #ARGV do
  if redis.call('ZREM', list, ARGV[i]) == 1 then
    local name = ARGV[i]:match('^[^\t]*')
    if redis.call('HINCRBY', counts, name, -1) <= 0 then
      redis.call('HDEL', counts, name)
    end
    removed = removed + 1
  end
end
return {removed}
