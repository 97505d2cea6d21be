-- rendezvous/unshare: entries that referred to a drop do so no more; the last takes it away.
-- KEYS[1] the drop (hash: text, refs)
-- ARGV[1] how many entries
-- BOUND   one drop
-- RETURN  {1 if it is gone now, else 0}
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HINCRBY', KEYS[1], 'refs', -ARGV[1]) > 0 then
  return {0}
end
redis.call('UNLINK', KEYS[1])
return {1}
