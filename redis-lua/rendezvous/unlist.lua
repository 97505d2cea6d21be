-- rendezvous/unlist: take entries off the fleet's list of them.
-- KEYS[1] the list (zset: "point TAB peer", ms of its end)   KEYS[2] entries at each point (hash)
-- ARGV[1...] entries, "point TAB peer"
-- RETURN  {entries that were on it}
local list, counts = KEYS[1], KEYS[2]

local removed = 0
for i = 1, #ARGV do
  if redis.call('ZREM', list, ARGV[i]) == 1 then
    local point = ARGV[i]:match('^[^\t]*')
    if redis.call('HINCRBY', counts, point, -1) <= 0 then
      redis.call('HDEL', counts, point)
    end
    removed = removed + 1
  end
end
return {removed}
