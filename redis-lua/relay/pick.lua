-- relay/pick: choose relays below half load, each set of them as likely as any other, in random order.
-- Ranks are drawn without repeats (a shuffle that stops early), so the work is O(count log relays).
-- KEYS[1] those below half load (zset, all of one score)
-- KEYS[2] all relays (hash: peer, "address connected max public-key")
-- ARGV[1] how many   ARGV[2] seed, random
-- BOUND   how many are wanted
-- RETURN  {{peer, record, peer, record, ...}}
local free, all = KEYS[1], KEYS[2]
local wanted, seed = tonumber(ARGV[1]), tonumber(ARGV[2])

local size = redis.call('ZCARD', free)
local moved, peers = {}, {}
math.randomseed(seed)
for i = 1, math.min(wanted, size) do
  local j = math.random(i, size)
  local rank = (moved[j] or j) - 1
  moved[j] = moved[i] or i
  peers[i] = redis.call('ZRANGE', free, rank, rank)[1]
end
if #peers == 0 then
  return {{}}
end
local records = redis.call('HMGET', all, unpack(peers))
local found = {}
for i, peer in ipairs(peers) do
  found[2 * i - 1] = peer
  found[2 * i] = records[i] or ''
end
return {found}
