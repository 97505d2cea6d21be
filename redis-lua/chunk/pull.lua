-- chunk/pull: decide whom to ask for a chunk that is waited for: nobody while another was asked and has time left.
-- KEYS[1] sources (zset: "address peer", ms of the end)   KEYS[2] those of them who rest (likewise)
-- KEYS[3] waits (zset: "address peer", ms of the end)   KEYS[4] the pull under way (hash: source, until)
-- KEYS[5] sources that were asked in vain (set)
-- ARGV[1] source that has left ("address peer"), or ""   ARGV[2] pull time-out ms   ARGV[3] seed, random
-- USES    now, sources
-- BOUND   100 of what has ended; at the end of a round also those who were asked in vain in it, one each time-out, and
--         those who wait and are told
-- RETURN  {"pull" | "again" after one in vain | "none" | "idle" | "more": call again for the answer, source to ask, ms by
--          which the one asked is to push or 0, {waiters, with "none" after one in vain}, now ms}
local sources, rest, waits, pull, tried = unpack(KEYS)
local left, timeout, seed = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function is_waiting(peer)
  return tonumber(redis.call('ZSCORE', waits, peer) or 0) > now
end
local function some_ended(list)
  return redis.call('ZRANGEBYSCORE', list, '-inf', now, 'LIMIT', 0, 100)
end
local function end_round()
  for _, source in ipairs(redis.call('SRANDMEMBER', tried, redis.call('SCARD', tried))) do
    if not is_waiting(source) then
      move(rest, sources, source)
    end
  end
  redis.call('DEL', pull, tried)
end

local asked = redis.call('HMGET', pull, 'source', 'until')
if asked[1] then
  if left ~= asked[1] and (left ~= '' or tonumber(asked[2]) > now) then
    return {'idle', '', tonumber(asked[2]), {}, now}
  end
elseif left ~= '' then
  return {'idle', '', 0, {}, now}
end

local ended_waits = some_ended(waits)
for _, waiter in ipairs(ended_waits) do
  redis.call('ZREM', waits, waiter)
  if redis.call('SISMEMBER', tried, waiter) == 0 then
    move(rest, sources, waiter)
  end
end
for _, list in ipairs({sources, rest}) do
  local ended = some_ended(list)
  if #ended > 0 then
    redis.call('ZREM', list, unpack(ended))
  end
end
if not asked[1] or redis.call('ZCOUNT', waits, '(' .. now, '+inf') == 0 then
  end_round()
end
if redis.call('ZCOUNT', waits, '(' .. now, '+inf') == 0 then
  return {'idle', '', 0, {}, now}
end
if asked[1] and (move(sources, rest, asked[1]) or redis.call('ZSCORE', rest, asked[1])) then
  redis.call('SADD', tried, asked[1])
  outlive(tried, rest)
end

-- One is drawn of those who have not ended; they stand behind the others. A worker of a former version does not move who
-- rests: if such a one is drawn, it is moved now.
math.randomseed(seed)
local count
for _ = 1, 100 do
  local ended = redis.call('ZCOUNT', sources, '-inf', now)
  count = redis.call('ZCARD', sources) - ended
  if count == 0 then
    break
  end
  local rank = ended + math.random(0, count - 1)
  local source = redis.call('ZRANGE', sources, rank, rank)[1]
  if redis.call('SISMEMBER', tried, source) == 0 and not is_waiting(source) then
    redis.call('HSET', pull, 'source', source, 'until', now + timeout)
    redis.call('PEXPIRE', pull, timeout * 4)
    return {asked[1] and 'again' or 'pull', source, now + timeout, {}, now}
  end
  move(sources, rest, source)
  outlive(waits, rest)
  outlive(tried, rest)
end
if count > 0 or (#ended_waits == 100 and redis.call('EXISTS', rest) == 1) then
  return {'more', '', 0, {}, now}
end
end_round()
return {'none', '', 0, asked[1] and redis.call('ZRANGEBYSCORE', waits, '(' .. now, '+inf') or {}, now}
