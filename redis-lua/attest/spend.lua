-- attest/spend: use a nonce up, if it is that device's: it is given out once, however many ask.
-- KEYS[1] the nonce (hash: device_id, build_version, platform, regions, ip)
-- ARGV[1] device
-- RETURN  {1 if it is spent now, else 0}
-- BOUND   constant
if redis.call('HGET', KEYS[1], 'device_id') ~= ARGV[1] then
  return {0}
end
return {redis.call('DEL', KEYS[1])}
