-- shared/now: Redis' clock, for the scripts with the line `-- USES now`.
-- us   microseconds   now   milliseconds; both are whole numbers
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local now = math.floor(us / 1000)
