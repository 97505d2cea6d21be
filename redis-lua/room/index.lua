-- room/index: put a room on the list of all rooms, and on the schedule that takes it off again.
-- KEYS[1] all rooms (zset, all of one score)   KEYS[2] when to look whether they are still there (zset: room, ms)
-- ARGV[1] room   ARGV[2] ms until the first look
-- USES    now
-- BOUND   one room
-- RETURN  {1 if it is new, else 0}
redis.call('ZADD', KEYS[2], 'NX', now + ARGV[2], ARGV[1])
return {redis.call('ZADD', KEYS[1], 0, ARGV[1])}
