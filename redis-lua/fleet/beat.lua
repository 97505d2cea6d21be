-- fleet/beat: renew a worker's lease.
-- KEYS[1] the worker (hash)
-- ARGV[1] lease ms   ARGV[2] node   ARGV[3] pid   ARGV[4] version   ARGV[5] started ms   ARGV[6] connections
-- ARGV[7...] other numbers of the worker, each after its name
-- BOUND   the numbers given, which are those of the program
-- RETURN  {1 if the lease was still held, 0 if it is new or had lapsed}
local worker = KEYS[1]
local lease, node, pid, version, started, connections = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local held = redis.call('EXISTS', worker)
redis.call('HSET', worker, 'host', node, 'pid', pid, 'version', version, 'started', started,
  'connections', connections, unpack(ARGV, 7))
redis.call('PEXPIRE', worker, lease)
return {held}
