-- fleet/roster: note a worker's beat by Redis' clock, and read everybody's last one.
-- KEYS[1] the workers (zset: wid, last beat ms)
-- ARGV[1...] wid, and names that it had and is still to be listed under
-- USES    now
-- BOUND   the workers of the fleet, all of which it tells, and the names given
-- RETURN  {now ms, {wid, last beat ms, wid, last beat ms, ...}}
local workers = KEYS[1]

for _, wid in ipairs(ARGV) do
  redis.call('ZADD', workers, now, wid)
end
-- Where the clock was set back, the beats before that lie ahead: such a worker has its lease from now on.
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', workers, '(' .. now, '+inf', 'LIMIT', 0, 1000)) do
  redis.call('ZADD', workers, now, ahead)
end
return {now, redis.call('ZRANGE', workers, 0, -1, 'WITHSCORES')}
