-- migrations/001: the layout of the versions that gave it no number, and of an empty Redis: nothing is to be changed.
-- KEYS[1] the layout (string)
-- ARGV[1] where this step begins; "" at the first
-- BOUND   nothing
-- RETURN  {where the next step begins; "" once nothing is left}
return {''}
