-- schedule/due: hand out entries whose time has come, each to one caller; it comes up again unless it is taken off.
-- KEYS[1] the schedule (zset: entry, ms)
-- ARGV[1] how many at most   ARGV[2] ms after which an entry comes up again
-- USES    now
-- BOUND   how many at most are handed out
-- RETURN  {{entries}}
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, entry in ipairs(due) do
  redis.call('ZADD', KEYS[1], now + ARGV[2], entry)
end
return {due}
