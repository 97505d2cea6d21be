-- room/census: what a room is, and how many are in it.
-- KEYS[1] the room (hash: created_at, max_peers)   KEYS[2] its peers (hash: peer, "address info")
-- USES    now
-- BOUND   two sizes
-- RETURN  {ms when it was created or 0: there is no such room, peers at most or 0, peers, ms until it ends or -1, now ms}
local room = redis.call('HMGET', KEYS[1], 'created_at', 'max_peers')
return {tonumber(room[1] or 0), tonumber(room[2] or 0), redis.call('HLEN', KEYS[2]), redis.call('PTTL', KEYS[1]), now}
