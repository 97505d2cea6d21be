-- chunk/overdue: hand out pulls whose time is over, each to one caller in the time of a pull.
-- KEYS[1] pulls (zset: chunk, ms by which its source is to push)
-- ARGV[1] how many at most   ARGV[2] pull time-out ms
-- RETURN  {{chunks}}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local overdue = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, chunk in ipairs(overdue) do
  redis.call('ZADD', KEYS[1], now + ARGV[2], chunk)
end
return {overdue}
