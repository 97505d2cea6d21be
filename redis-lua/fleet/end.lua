-- fleet/end: end a worker's lease, and with it the numbers that it shows: it stops, or goes on under another name.
-- KEYS[1] the worker (hash)
-- BOUND   one worker, whose numbers are those of the program
-- RETURN  {1 if it had a lease, else 0}
return {redis.call('DEL', KEYS[1])}
