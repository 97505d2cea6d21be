-- chunk/push: cache a chunk, end its pull, and send it to all who wait for it, with one publish to each other worker:
-- in the same breath, so that no waiter is lost with the worker that took the push. Who is no source of the chunk, while it
-- is cached or has sources, changes nothing.
-- KEYS[1] the cached chunk (hash: data, accesses, cachedAt µs, by)   KEYS[2] sources (zset: "address peer", ms of the end)
-- KEYS[3] those of them who rest (likewise)   KEYS[4] waits (zset: "address peer", ms of the end)
-- KEYS[5] the pull under way (hash: source, until)   KEYS[6] sources that were asked in vain (set)
-- ARGV[1] data   ARGV[2] cache ttl ms   ARGV[3] wid of the pushing worker   ARGV[4] what a channel begins with
-- ARGV[5] head of the frame (inbox.h), up to its targets   ARGV[6] message before the data   ARGV[7] message behind it
-- ARGV[8] address of the pusher   ARGV[9...] its peers
-- USES    now, publish, sources
-- BOUND   the bytes of the data, those who wait, the sources that rest (they wait, or were asked in vain, one each time-out
--         of a pull), and the peers of the pusher, 256
-- RETURN  {1 if it is cached, else 0; bytes of data that it replaced, if those were of the same socket, else 0;
--          {"address peer" of each waiter}}; waiters of the pushing worker are left to it
local cached, sources, rest, waits, pull, tried = unpack(KEYS)
local data, ttl, self, channel, head, before, behind, address = unpack(ARGV)

-- Cached data outlives its socket. What names a socket that has gone is to be undone, so this is no name.
local pusher, by = redis.sha1hex(address), redis.call('HGET', cached, 'by')
local function is_source()
  if by == pusher then
    return true
  end
  local asked = redis.call('HGET', pull, 'source')
  for i = 9, #ARGV do
    local holder = address .. ' ' .. ARGV[i]
    if holder == asked or redis.call('SISMEMBER', tried, holder) == 1
      or tonumber(redis.call('ZSCORE', sources, holder) or redis.call('ZSCORE', rest, holder) or 0) > now then
      return true
    end
  end
  return false
end
local function has_sources()
  return redis.call('ZCOUNT', sources, '(' .. now, '+inf') + redis.call('ZCOUNT', rest, '(' .. now, '+inf') > 0
end

if (redis.call('EXISTS', cached) == 1 or has_sources()) and not is_source() then
  return {0, 0, {}}
end
local replaced = by == pusher and redis.call('HSTRLEN', cached, 'data') or 0
redis.call('HSET', cached, 'data', data, 'accesses', 0, 'cachedAt', string.format('%.0f', us), 'by', pusher)
redis.call('PEXPIRE', cached, ttl)
local waiters = redis.call('ZRANGEBYSCORE', waits, '(' .. now, '+inf')
local resting = redis.call('ZRANGE', rest, 0, -1, 'WITHSCORES')
for i = 1, #resting, 2 do
  redis.call('ZADD', sources, resting[i + 1], resting[i])
end
outlive(sources, rest)
redis.call('DEL', waits, rest, pull, tried)

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
return {1, replaced, waiters}
