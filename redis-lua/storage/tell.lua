-- storage/tell: count what the open sockets of a worker store for a client address, and what outlives its socket.
-- KEYS[1] the address's bytes (hash: wid, or end of what is kept, bytes; total: their sum)
-- KEYS[2] its workers (zset: wid, ms of its end)   KEYS[3] what is kept (zset: end, ms)
-- ARGV[1] wid   ARGV[2] bytes of its sockets   ARGV[3] ms that they count if they are not told again
-- ARGV[4] a wid that the worker had before, which counts no more, or ""
-- ARGV[5] ttl ms of what is kept besides   ARGV[6] its bytes; negative: so many fewer, of the soonest end that has them
-- USES    now
-- BOUND   ends of what is kept: 33 for each ttl in use at most; ended ones: ENDED_A_TIME of each list at most
-- RETURN  {bytes of the address}
local bytes, workers, kept = KEYS[1], KEYS[2], KEYS[3]
local wid, stored, life, former = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local ttl, more = tonumber(ARGV[5]), tonumber(ARGV[6])
local ENDED_A_TIME = 64

local function bytes_of(member)
  return tonumber(redis.call('HGET', bytes, member) or 0)
end

local function set(list, member, count, ends)
  redis.call('HINCRBY', bytes, 'total', string.format('%.0f', count - bytes_of(member)))
  if count > 0 then
    redis.call('HSET', bytes, member, string.format('%.0f', count))
    redis.call('ZADD', list, ends, member)
  else
    redis.call('HDEL', bytes, member)
    redis.call('ZREM', list, member)
  end
end

-- Rounded up to a power of two, of a sixteenth of the ttl or less: so there are few ends.
local function end_of_ttl()
  local step = 1
  while step * 32 <= ttl do
    step = step * 2
  end
  return string.format('%.0f', math.ceil((now + ttl) / step) * step)
end

local function keep_fewer(count)
  for _, ends in ipairs(redis.call('ZRANGE', kept, 0, -1)) do
    if bytes_of(ends) >= count then
      set(kept, ends, bytes_of(ends) - count, ends)
      return
    end
  end
end

for _, list in ipairs({workers, kept}) do
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', list, '-inf', now, 'LIMIT', 0, ENDED_A_TIME)) do
    set(list, member, 0)
  end
end
if former ~= '' then
  set(workers, former, 0)
end
set(workers, wid, stored, string.format('%.0f', now + life))
if more > 0 then
  local ends = end_of_ttl()
  set(kept, ends, bytes_of(ends) + more, ends)
elseif more < 0 then
  keep_fewer(0 - more)
end

local left = 0
for _, list in ipairs({workers, kept}) do
  local last = redis.call('ZREVRANGE', list, 0, 0, 'WITHSCORES')
  left = math.max(left, (last[2] or now) - now)
end
local total = bytes_of('total')
for i = 1, #KEYS do -- all at once, or none knew of those that another still counts
  redis.call('PEXPIRE', KEYS[i], left)
end
return {total}
