-- chunk/push: cache a chunk, end its pull, and send it to all who wait for it, with one publish to each other worker:
-- in the same breath, so that no waiter is lost with the worker that took the push.
-- KEYS[1] the cached chunk (hash: data, accesses, cachedAt µs)   KEYS[2] waits (zset: "address peer", ms of the end)
-- KEYS[3] the pull under way (hash: source, until)   KEYS[4] sources that were asked in vain (set)
-- ARGV[1] data   ARGV[2] cache ttl ms   ARGV[3] wid of the pushing worker   ARGV[4] what a channel begins with
-- ARGV[5] head of the frame (inbox.h), up to its targets   ARGV[6] message before the data   ARGV[7] message behind it
-- USES    now, publish
-- RETURN  {{"address peer" of each waiter}}; those of the pushing worker are left to it
local cached, waits, pull, tried = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local data, ttl, self, channel, head, before, behind = unpack(ARGV)

redis.call('HSET', cached, 'data', data, 'accesses', 0, 'cachedAt', string.format('%.0f', us))
redis.call('PEXPIRE', cached, ttl)
local waiters = redis.call('ZRANGEBYSCORE', waits, '(' .. now, '+inf')
redis.call('DEL', waits, pull, tried)

local targets = {}
for _, waiter in ipairs(waiters) do
  local wid, sid = waiter:match('^(%x+)%.(%d+) ')
  if wid ~= self then
    targets[wid] = targets[wid] or {}
    table.insert(targets[wid], struct.pack('<I8I2', tonumber(sid), 0))
  end
end
for wid, sids in pairs(targets) do
  for first = 1, #sids, 65535 do
    local last = math.min(first + 65534, #sids)
    publish(channel .. wid, head .. struct.pack('<I2', last - first + 1)
      .. table.concat(sids, '', first, last) .. before .. data .. behind)
  end
end
return {waiters}
