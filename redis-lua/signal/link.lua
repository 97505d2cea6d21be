-- signal/link: open a request to link a device; a device has one at a time.
-- KEYS[1] the device's code (hash)   KEYS[2] the link open to it (hash: from, addr, asked, publicKey, deviceName, until)
-- ARGV[1] code of the web client   ARGV[2] its address   ARGV[3] public key   ARGV[4] device name, JSON   ARGV[5] ttl ms
-- USES    now
-- BOUND   one link
-- RETURN  {address of the device; "" for no such device or one that is asked by another, ms of the end,
--          code and address of a web client whose request has ended, because the device had its code on another socket; or ""}
local code, link = KEYS[1], KEYS[2]
local from, address, public_key, name, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local device = redis.call('HGET', code, 'addr')
local open = redis.call('HMGET', link, 'from', 'until', 'asked', 'addr')
local others = open[1] and open[1] ~= from
if not device or (others and open[3] == device and tonumber(open[2]) > now) then
  return {'', 0, '', ''}
end
redis.call('HSET', link, 'from', from, 'addr', address, 'asked', device, 'publicKey', public_key, 'deviceName', name,
  'until', string.format('%.0f', now + ttl))
redis.call('PEXPIRE', link, ttl + 60000)
return {device, now + ttl, others and open[1] or '', others and open[4] or ''}
