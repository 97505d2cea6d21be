-- agenda/drop: an entry has been looked at and needs no more looking; one that was put on again since stays.
-- KEYS[1] the agenda (zset: entry, ms)
-- ARGV[1] entry   ARGV[2] ms when it was looked at   ARGV[3] ms after which it would have come up again
-- ARGV[4] ms when else it may have been to come up, or 0
-- RETURN  {1 if it was taken off, else 0}
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])

if not score or (tonumber(score) > ARGV[2] + ARGV[3] and tonumber(score) ~= tonumber(ARGV[4])) then
  return {0}
end
return {redis.call('ZREM', KEYS[1], ARGV[1])}
