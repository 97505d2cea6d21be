-- attest/challenge: write down what a device was asked.
-- KEYS[1] the nonce (hash: device_id, build_version, platform, regions)
-- ARGV[1] ttl ms   ARGV[2] device   ARGV[3] version   ARGV[4] platform   ARGV[5] indexes of the regions, joined by commas
-- RETURN  {fields written}
local ttl, device, version, platform, regions = unpack(ARGV)

local written = redis.call('HSET', KEYS[1], 'device_id', device, 'build_version', version, 'platform', platform,
  'regions', regions)
redis.call('PEXPIRE', KEYS[1], ttl)
return {written}
