-- schema/migrate: tell which layout the keys have; have one worker at a time migrate them, a step after the other.
-- KEYS[1] the layout (string)   KEYS[2] the migration under way (hash)
-- ARGV[1] wid   ARGV[2] the layout that its version has   ARGV[3] how long it has for a step, ms
-- ARGV[4] the layout to which it has just made a step, or 0   ARGV[5] where the next one begins; "": it was the last
-- USES    now
-- BOUND   one migration
-- RETURN  {layout (0 none, -1 not a number), 1 if that step completed it, 1 if the caller makes the next step, where};
--         an error that begins with READONLY if this is a replica
local key, migration = KEYS[1], KEYS[2]
local wid, wanted, lasts, made, cursor = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

local stored = redis.pcall('GET', key) -- an error where another type stands
local layout, completed = stored and -1 or 0, 0
if type(stored) == 'string' and stored:find('^[1-9]%d*$') and #stored < 10 then
  layout = tonumber(stored)
end
if layout == wanted then
  local tried = redis.pcall('PERSIST', key) -- a write that changes nothing: who asks may not have the right to ROLE
  if type(tried) == 'table' and tried.err:find('READONLY', 1, true) then
    return redis.error_reply('READONLY this is a replica')
  end
end
if layout < 0 or layout >= wanted then
  return {layout, 0, 0, ''}
end

local known = redis.call('HMGET', migration, 'wid', 'until', 'cursor')
local holder, ends, at = known[1], tonumber(known[2] or 0), known[3] or ''
if ends > now + lasts then -- the clock was set back
  ends = now + lasts
  redis.call('HSET', migration, 'until', ends)
end
if holder == wid and made == layout + 1 then
  at = cursor
  if cursor == '' then
    redis.call('SET', key, made)
    redis.call('DEL', migration)
    layout, completed = made, 1
  end
end
if layout == wanted or holder ~= wid and ends > now then
  return {layout, completed, 0, ''}
end
redis.call('HSET', migration, 'wid', wid, 'until', now + lasts, 'cursor', at)
return {layout, completed, 1, at}
