-- chunk/census: count the cached chunks that have not expired.
-- KEYS[1] when they expire (zset: chunk, ms)
-- RETURN  {chunks}
local time = redis.call('TIME')

return {redis.call('ZCOUNT', KEYS[1], '(' .. time[1] * 1000 + math.floor(time[2] / 1000), '+inf')}
