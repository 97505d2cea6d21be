-- fleet/roster: note a worker's beat by Redis' clock, and read everybody's last one.
-- KEYS[1] the workers (zset: wid, last beat ms)
-- ARGV[1] wid
-- USES    now
-- RETURN  {now ms, {wid, last beat ms, wid, last beat ms, ...}}
local workers, wid = KEYS[1], ARGV[1]

redis.call('ZADD', workers, now, wid)
return {now, redis.call('ZRANGE', workers, 0, -1, 'WITHSCORES')}
