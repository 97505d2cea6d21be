-- attest/enroll: register a device, in the place of what it was; tells to whom that still counts.
-- KEYS[1] the device (hash: its fields; stored: "bytes ms-of-their-end address", which they count to)
-- ARGV[1] ttl ms   ARGV[2] bytes   ARGV[3] the address that they count to   ARGV[4...] its fields, each before its value
-- USES    now
-- RETURN  {bytes of what it was, 0 if nothing counts any more; the ms for which they would count on; their address}
-- BOUND   constant
local device, ttl, bytes, ip = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3]

local stored = redis.call('HGET', device, 'stored') or ''
redis.call('DEL', device)
redis.call('HSET', device, 'stored', string.format('%s %.0f %s', bytes, now + ttl, ip), unpack(ARGV, 4))
redis.call('PEXPIRE', device, ttl)
local former, ends, former_ip = stored:match('^(%d+) (%d+) (.+)$')
if not former or tonumber(ends) <= now then
  return {0, 0, ''}
end
return {tonumber(former), tonumber(ends) - now, former_ip}
