-- server/list: all servers that are fresh, unless the caller knows them.
-- KEYS[1] entries (hash: id, JSON up to lastSeen)   KEYS[2] when they were last seen (zset: id, ms)
-- KEYS[3] number of the last change of the list
-- ARGV[1] ms that an entry lives   ARGV[2] number of the change that the caller knows of, "-" for none
-- ARGV[3] servers at most
-- USES    now
-- RETURN  {1, or 0 if nothing has changed since; now ms; number of the last change; {id, entry, last seen ms, ...}}
-- BOUND   ARGV[3] servers
local entries, seen, changed = unpack(KEYS)
local ttl, known, most = tonumber(ARGV[1]), ARGV[2], ARGV[3]

local number = redis.call('GET', changed) or ''
if number == known then
  return {0, now, number, {}}
end
local fresh, list = redis.call('ZRANGEBYSCORE', seen, '(' .. string.format('%.0f', now - ttl), '+inf', 'WITHSCORES',
  'LIMIT', 0, most), {}
for i = 1, #fresh, 2 do
  list[#list + 1] = fresh[i]
  list[#list + 1] = redis.call('HGET', entries, fresh[i])
  list[#list + 1] = fresh[i + 1]
end
return {1, now, number, list}
