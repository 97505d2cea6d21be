-- rendezvous/meet: leave a peer's entry at a daily point or an hourly token, and read the others' there.
-- KEYS[1] the meeting (hash: peer, "address since LF text"; TAB peer, "address range", which former workers did not note,
--         and behind that, where the text is empty, " id bytes" of a drop that is kept for several points)
-- KEYS[2] when its entries end (zset: peer, ms)
-- ARGV[1] peer   ARGV[2] its address   ARGV[3] ms since when it has its id there   ARGV[4] text for the others
-- ARGV[5] ttl ms   ARGV[6] entries kept at most   ARGV[7] bytes of others' entries in the reply at most
-- ARGV[8] range of the client's address   ARGV[9] entries of one socket kept at most
-- ARGV[10] "socket" or "range": whose former entry of this peer counts as replaced
-- ARGV[11] "all" or "some": what is to fit in the reply. If not all does that is to, nothing is done
-- ARGV[12] "id bytes" of a drop that is kept for several points, which is then what is left here; or ""
-- USES    now
-- BOUND   the entries kept at most and the one that is new, 65, and the bytes of the reply
-- RETURN  {1, or 2 if nothing is done, or 0 if a later holder of the peer's id has registered here,
--          {peer, entry, peer, entry, ...} newest first, with "@id bytes" as text where that is kept elsewhere (its bytes
--          count as those of the reply), {"address peer" of entries that were dropped, being too many},
--          entries left out of the reply, bytes of the text of the entry that was replaced, or -1, and if it referred to a
--          drop "id bytes" of that, else ""}
local meeting, ends = KEYS[1], KEYS[2]
local peer, address, since, text = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local ttl, most, budget = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local range, socket_most, whose, wanted, shared = ARGV[8], tonumber(ARGV[9]), ARGV[10], ARGV[11], ARGV[12]
local mark = address .. ' ' .. range

local own = redis.call('HGET', meeting, peer)
local held_at
if own then
  local held_since
  held_at, held_since = own:match('^(%S+) (%d+)\n')
  if held_at ~= address and tonumber(held_since) > since then
    return {0, {}, {}, 0, -1, ''}
  end
end

-- Marks lie in the same hash, and no id begins with a tab. One whose entry was removed by a former worker is overwritten
-- with the next of that peer.
local function remove(peers)
  if #peers == 0 then
    return
  end
  local fields = {unpack(peers)}
  for _, gone in ipairs(peers) do
    fields[#fields + 1] = '\t' .. gone
  end
  redis.call('HDEL', meeting, unpack(fields))
  redis.call('ZREM', ends, unpack(peers))
end
remove(redis.call('ZRANGEBYSCORE', ends, '-inf', now))

local replaced, replaced_drop = -1, ''
if own and redis.call('ZSCORE', ends, peer) then
  local former, drop = (redis.call('HGET', meeting, '\t' .. peer) or ''):match('^(%S+ %S+) ?(.*)$')
  if held_at == address or (whose == 'range' and former == held_at .. ' ' .. range) then
    replaced = #own - own:find('\n', 1, true)
    replaced_drop = replaced == 0 and drop or ''
  end
end
local others, left_out = {}, 0
-- An entry and its bytes in the reply; nil if there is no room for it. A former worker writes entries without a mark of
-- theirs: what a mark refers to counts only for the socket that it names.
local function read(other)
  local size = budget > 0 and redis.call('HSTRLEN', meeting, other)
  if not size or size > budget then
    return nil
  end
  local entry = redis.call('HGET', meeting, other) or ''
  if entry:sub(-1) == '\n' then
    local holder, id, bytes = (redis.call('HGET', meeting, '\t' .. other) or ''):match('^(%S+) %S+ (%x+) (%d+)$')
    if holder and holder == entry:match('^%S+') then
      return entry .. '@' .. id .. ' ' .. bytes, size + bytes
    end
  end
  return entry, size
end
for _, other in ipairs(redis.call('ZREVRANGE', ends, 0, -1)) do
  if other ~= peer then
    local entry, size = read(other)
    if entry and size <= budget then
      budget = budget - size
      others[#others + 1] = other
      others[#others + 1] = entry
    elseif wanted == 'all' then
      return {2, {}, {}, 0, -1, ''}
    else
      left_out = left_out + 1
    end
  end
end

-- Entries of one millisecond keep their order too: the new one is never the oldest.
local last = redis.call('ZREVRANGE', ends, 0, 0, 'WITHSCORES')[2]
local score = now + ttl
if last and tonumber(last) >= score and tonumber(last) < score + 1 then
  score = tonumber(last) + 0.001
end
redis.call('HSET', meeting, peer, string.format('%s %.0f\n%s', address, since, text), '\t' .. peer,
  shared == '' and mark or mark .. ' ' .. shared)
redis.call('ZADD', ends, string.format('%.3f', score), peer)

-- The peers that are here, the oldest first, and what tells them apart: their marks, or their sockets.
local peers, marks = redis.call('ZRANGE', ends, 0, -1), {}
local dropped, names = {}, {}
local function address_of(other)
  return (redis.call('HGET', meeting, other) or ''):match('^%S*')
end
local function drop(i)
  names[#names + 1] = peers[i]
  dropped[#dropped + 1] = address_of(peers[i]) .. ' ' .. peers[i]
  table.remove(peers, i)
  table.remove(marks, i)
end
-- The oldest of whoever has most here: so nobody can push out the others.
local function heaviest()
  local count, oldest, found = {}, {}, nil
  for i, one in ipairs(marks) do
    local client = one:match(' (.*)') or one
    count[client] = (count[client] or 0) + 1
    oldest[client] = oldest[client] or i
  end
  for client, n in pairs(count) do
    if not found or n > count[found] or (n == count[found] and oldest[client] < oldest[found]) then
      found = client
    end
  end
  return oldest[found]
end
if #peers > socket_most or #peers > most then
  local fields = {}
  for i, one in ipairs(peers) do
    fields[i] = '\t' .. one
  end
  local ours, first = 0, nil
  marks = redis.call('HMGET', meeting, unpack(fields))
  for i, one in ipairs(marks) do
    marks[i] = one and one:match('^%S+ %S+') or address_of(peers[i])
    if marks[i] == mark then
      ours, first = ours + 1, first or i
    end
  end
  if ours > socket_most then
    drop(first)
  end
  while #peers > most do
    drop(heaviest())
  end
  remove(names)
end
if redis.call('PTTL', ends) < ttl then
  redis.call('PEXPIRE', meeting, ttl)
  redis.call('PEXPIRE', ends, ttl)
end
return {1, others, dropped, left_out, replaced, replaced_drop}
