-- attest/spend: use a nonce up, if it is that device's: it is given out once, however many ask.
-- KEYS[1] the nonce (hash: device_id, build_version, platform, regions)
-- ARGV[1] device
-- RETURN  {"none", "other": it is another device's, or "spent"; build version; platform; indexes joined by commas}
local nonce = redis.call('HMGET', KEYS[1], 'device_id', 'build_version', 'platform', 'regions')

if not nonce[1] then
  return {'none', '', '', ''}
end
if nonce[1] ~= ARGV[1] then
  return {'other', '', '', ''}
end
redis.call('DEL', KEYS[1])
return {'spent', nonce[2], nonce[3], nonce[4]}
