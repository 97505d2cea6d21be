-- claim/take: give an identity to a socket, if it is free, its own already, or held by the socket it may replace.
-- KEYS[1] the identity (hash)
-- ARGV[1] address of the claimer   ARGV[2] address it may replace, or ""   ARGV[3] ttl ms
-- ARGV[4] address of the claimer's client, or the range of that
-- BOUND   one hash of a few short fields
-- USES    now
-- RETURN  {address of the holder that keeps it, "" when it was given, or "kept": for another client's address
--          (claim/keep); ms since when the claimer has it}
local identity = KEYS[1]
local claimer, replaceable, ttl, client = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local had = redis.call('HMGET', identity, 'addr', 'registeredAt', 'keptFor')
local holder, since, kept_for = had[1], tonumber(had[2] or 0), had[3]
if holder and holder ~= claimer and holder ~= replaceable then
  return {holder, 0}
end
if kept_for then
  if not holder and kept_for ~= client then
    return {'kept', 0}
  end
  redis.call('HDEL', identity, 'keptFor')
end
if holder ~= claimer then
  since = math.max(now, since + 1)
  redis.call('HSET', identity, 'addr', claimer, 'registeredAt', since)
end
redis.call('HSET', identity, 'lastUpdate', now)
redis.call('PEXPIRE', identity, ttl)
return {'', since}
