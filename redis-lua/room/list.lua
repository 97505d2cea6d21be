-- room/list: what a room is, and who is in it.
-- KEYS[1] the room (hash: created_at, max_peers)   KEYS[2] its peers (hash: peer, "address info")
-- BOUND   the peers of the room, all of which it tells
-- RETURN  {ms when it was created or 0: there is no such room, peers at most or 0, {peer, "address info", ...}}
local room = redis.call('HMGET', KEYS[1], 'created_at', 'max_peers')

return {tonumber(room[1] or 0), tonumber(room[2] or 0), redis.call('HGETALL', KEYS[2])}
