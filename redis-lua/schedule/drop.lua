-- schedule/drop: an entry has been looked at and needs no more looking; one that was put on again since stays.
-- KEYS[1] the schedule (zset: entry, ms)
-- ARGV[1] entry   ARGV[2] ms by which it would have come up again   ARGV[3] ms when else it may have been to, or 0
-- BOUND   one entry
-- RETURN  {1 if it was taken off, else 0}
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])

if not score or (tonumber(score) > tonumber(ARGV[2]) and tonumber(score) ~= tonumber(ARGV[3])) then
  return {0}
end
return {redis.call('ZREM', KEYS[1], ARGV[1])}
