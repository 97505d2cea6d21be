-- shared/sources: the two lists of a chunk's sources, for the scripts with the line `-- USES sources`. A source is on one of
-- them: those who may be asked, or those who rest, because they wait for the chunk or were asked in vain.
-- outlive(key, other)   has a key live at least as long as another
-- move(from, to, source)   moves a source from one list to the other, if it is on it; tells whether it was
local function outlive(key, other)
  local left = redis.call('PTTL', other)
  if redis.call('PTTL', key) < left then
    redis.call('PEXPIRE', key, left)
  end
end
local function move(from, to, source)
  local ends = redis.call('ZSCORE', from, source)
  if ends then
    redis.call('ZADD', to, ends, source)
    outlive(to, from)
    redis.call('ZREM', from, source)
  end
  return ends
end
