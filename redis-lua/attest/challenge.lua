-- attest/challenge: write down what a device was asked.
-- KEYS[1] the nonce (hash: device_id, build_version, platform, regions, ip)
-- ARGV[1] ttl ms   ARGV[2] device   ARGV[3] version   ARGV[4] platform   ARGV[5] indexes of the regions, joined by commas
-- ARGV[6] the address that it counts to
-- RETURN  {fields written}
-- BOUND   constant
local ttl, device, version, platform, regions, ip = unpack(ARGV)

local written = redis.call('HSET', KEYS[1], 'device_id', device, 'build_version', version, 'platform', platform,
  'regions', regions, 'ip', ip)
redis.call('PEXPIRE', KEYS[1], ttl)
return {written}
