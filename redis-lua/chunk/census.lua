-- chunk/census: count the cached chunks that have not expired.
-- KEYS[1] when they expire (zset: chunk, ms)
-- USES    now
-- BOUND   one list, counted without a walk
-- RETURN  {chunks}
return {redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf')}
