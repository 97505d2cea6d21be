-- signal/unlink: end the request to link a device: it is answered, its time is over, or the web client has left.
-- KEYS[1] the link open to the device (hash: from, addr, asked, publicKey, deviceName, until)
-- ARGV[1] "answer", "time" or "gone"   ARGV[2] code of the web client, or "" for whoever it is
-- ARGV[3] address of the device that answers, or of the web client that has left
-- RETURN  {code of the web client, or "" if nothing ended; its address, public key and device name; now ms; ms left}
local link, why, from, address = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local open = redis.call('HMGET', link, 'from', 'addr', 'publicKey', 'deviceName', 'until', 'asked')
local bound = {answer = open[6], gone = open[2], time = address}
if not open[1] or (from ~= '' and open[1] ~= from) or bound[why] ~= address then
  return {'', '', '', '', now, 0}
end
local left = math.max(tonumber(open[5]) - now, 0)
if why ~= 'gone' and (why == 'time') ~= (left == 0) then
  return {'', '', '', '', now, left}
end
redis.call('DEL', link)
return {open[1], open[2], open[3], open[4], now, left}
