-- signal/describe: note the public key of a code that was claimed, unless another socket has it by now.
-- KEYS[1] the code (hash)
-- ARGV[1] address of the socket   ARGV[2] public key, JSON
-- BOUND   one code
-- RETURN  {1 if the code is its, else 0}
if redis.call('HGET', KEYS[1], 'addr') ~= ARGV[1] then
  return {0}
end
redis.call('HSET', KEYS[1], 'publicKey', ARGV[2])
return {1}
