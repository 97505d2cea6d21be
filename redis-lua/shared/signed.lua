-- shared/signed: timestamps of signed writes, for the scripts with the line `-- USES now, signed`.
-- is_replay(signed, id, timestamp)     whether that write of a server, or a later one, has been made before; forgets
--   timestamps that are no longer taken (within 60 s), and 60 s more for clocks that differ. "" is of no signed write
-- note_signed(signed, id, timestamp)   it has been made
local function is_replay(signed, id, timestamp)
  if timestamp == '' then
    return false
  end
  redis.call('ZREMRANGEBYSCORE', signed, '-inf', now - 120000)
  return tonumber(timestamp) <= tonumber(redis.call('ZSCORE', signed, id) or 0)
end
local function note_signed(signed, id, timestamp)
  if timestamp ~= '' then
    redis.call('ZADD', signed, timestamp, id)
    redis.call('PEXPIRE', signed, 240000)
  end
end
