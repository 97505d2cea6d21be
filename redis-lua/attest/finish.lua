-- attest/finish: a reference has been uploaded as a whole: it takes the place of the one before.
-- KEYS[1] its regions (hash: index, "offset length hex")   KEYS[2] the reference (hash)   KEYS[3] the reference's regions (hash)
-- ARGV[1] how many regions   ARGV[2...] other fields of the reference, each before its value
-- USES    now
-- RETURN  {ms when it was uploaded, or 0: its regions were given up meanwhile}
-- BOUND   the regions of the former reference, which are let go in the background
local uploaded, reference, regions, count = KEYS[1], KEYS[2], KEYS[3], ARGV[1]

if redis.call('HLEN', uploaded) ~= tonumber(count) then
  return {0}
end
redis.call('UNLINK', regions)
redis.call('RENAME', uploaded, regions)
redis.call('PERSIST', regions)
redis.call('DEL', reference)
redis.call('HSET', reference, 'regions', count, 'uploaded_at', string.format('%.0f', now), unpack(ARGV, 2))
return {now}
