-- rendezvous/share: keep a drop that entries at several points refer to, for as long as these live.
-- KEYS[1] the drop (hash: text, refs)
-- ARGV[1] its text for the others   ARGV[2] ttl ms   ARGV[3] how many entries will refer to it
-- BOUND   the bytes of the text
-- RETURN  {1 if it was kept already, else 0}
local kept = redis.call('HSETNX', KEYS[1], 'text', ARGV[1]) == 0
redis.call('HINCRBY', KEYS[1], 'refs', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {kept and 1 or 0}
