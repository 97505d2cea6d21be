-- tally/count: count the names and entries that have not ended; takes ended ones off the list, some at a time.
-- KEYS[1] the list (zset: "name TAB address peer", ms of its end)   KEYS[2] entries of each name (hash)
-- ARGV[1] how many ended ones to take off at most
-- USES    now
-- BOUND   how many ended ones are taken off at most
-- RETURN  {names, entries, ended ones taken off}
local list, counts = KEYS[1], KEYS[2]

local ended = redis.call('ZRANGEBYSCORE', list, '-inf', now, 'LIMIT', 0, ARGV[1])
for _, entry in ipairs(ended) do
  local name = entry:match('^[^\t]*')
  redis.call('ZREM', list, entry)
  if redis.call('HINCRBY', counts, name, -1) <= 0 then
    redis.call('HDEL', counts, name)
  end
end
return {redis.call('HLEN', counts), redis.call('ZCOUNT', list, '(' .. now, '+inf'), #ended}
