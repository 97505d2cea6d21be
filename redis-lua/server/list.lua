-- server/list: all servers that are fresh; before that, one of them may be seen again.
-- KEYS[1] entries (hash: id, JSON up to lastSeen)   KEYS[2] when they were last seen (zset: id, ms)
-- ARGV[1] ms that an entry lives   ARGV[2] id of the one that is seen now, and left out; "" for none
-- ARGV[3] its entry as it was looked at, or "*" if nobody looked
-- USES    now
-- RETURN  {1, or 0 if that one is not there; now ms; {entry, last seen ms, ...}}
local entries, seen = KEYS[1], KEYS[2]
local ttl, id, looked = tonumber(ARGV[1]), ARGV[2], ARGV[3]

if id ~= '' then
  local last = redis.call('ZSCORE', seen, id)
  local entry = redis.call('HGET', entries, id)
  if not last or tonumber(last) <= now - ttl or not entry or (looked ~= '*' and entry ~= looked) then
    return {0, now, {}}
  end
  redis.call('ZADD', seen, now, id)
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, ttl)
  end
end
local fresh, list = redis.call('ZRANGEBYSCORE', seen, '(' .. string.format('%.0f', now - ttl), '+inf', 'WITHSCORES'), {}
for i = 1, #fresh, 2 do
  if fresh[i] ~= id then
    list[#list + 1] = redis.call('HGET', entries, fresh[i])
    list[#list + 1] = fresh[i + 1]
  end
end
return {1, now, list}
