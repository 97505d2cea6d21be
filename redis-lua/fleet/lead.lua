-- fleet/lead: lead the fleet, or go on leading it, unless another does; tells who leads.
-- KEYS[1] the leader (hash)
-- ARGV[1] wid, or "": only look   ARGV[2] for how long, ms
-- USES    now
-- BOUND   one leader
-- RETURN  {wid of the leader or "", its number: each time one begins to lead, it gets a greater one}
local leader, wid, lasts = KEYS[1], ARGV[1], ARGV[2]

local known = redis.call('HMGET', leader, 'wid', 'number', 'until')
local leads, number, ends = known[1] or '', tonumber(known[2] or 0), tonumber(known[3] or 0)

if ends > now + lasts then -- the clock was set back
  ends = now + lasts
  redis.call('HSET', leader, 'until', ends)
end
if ends <= now then
  leads = wid
  if wid ~= '' then
    -- An emptied Redis has forgotten the last one, but since the first there were fewer changes than milliseconds.
    number = number > 0 and number + 1 or now
  end
end
if wid ~= '' and leads == wid then
  redis.call('HSET', leader, 'wid', wid, 'number', number, 'until', now + lasts)
end
return {leads, number}
