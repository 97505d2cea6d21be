-- signal/unlink: end the request to link a device: it is answered, its time is over, the web client has left, or it did
-- not reach the device. The web client is sent the message of the first two; where its worker does not listen, the
-- request stays open.
-- KEYS[1] the link open to the device (hash: from, addr, asked, publicKey, deviceName, until)
-- ARGV[1] "answer", "time", "gone" or "unheard"   ARGV[2] code of the web client, or "" for whoever it is
-- ARGV[3] address of the web client, with "gone", or of the device, with "answer" and "unheard"
-- ARGV[4] wid of the sending worker   ARGV[5] what a channel begins with   ARGV[6] head of the frame (inbox.h)
-- ARGV[7] entry that names the web client, up to its code   ARGV[8] message
-- USES    now, publish
-- BOUND   one link, and the bytes of the message
-- RETURN  {"none": nothing to end, "open": its time is not over, "unheard", "told", "here": ended, and the web client is on
--          the sending worker; code of the web client; its address, public key and device name; now ms; ms of the end}
local link = KEYS[1]
local why, web, address, self, channel, head, entry, message = unpack(ARGV)

local open = redis.call('HMGET', link, 'from', 'addr', 'publicKey', 'deviceName', 'until', 'asked')
local from, addr, ends = open[1], open[2], tonumber(open[5] or 0)
local bound = {answer = open[6], gone = addr, unheard = open[6], time = address}
if not from or (web ~= '' and from ~= web) or bound[why] ~= address or (why == 'answer' and ends <= now) then
  return {'none', '', '', '', '', now, 0}
end
if why == 'time' and ends > now then
  return {'open', from, addr, open[3], open[4], now, ends}
end
local result = 'here'
if why == 'answer' or why == 'time' then
  result = tell(addr, self, channel, head, entry .. from, message)
end
if result ~= 'unheard' then
  redis.call('DEL', link)
end
return {result, from, addr, open[3], open[4], now, ends}
