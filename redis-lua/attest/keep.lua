-- attest/keep: note some regions of a reference that is being uploaded.
-- KEYS[1] its regions so far (hash: index, "offset length hex")
-- ARGV[1] ms until it counts as abandoned   ARGV[2...] index and region, by turns
-- RETURN  {regions that are new}
-- BOUND   the regions that are given
local new = redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {new}
