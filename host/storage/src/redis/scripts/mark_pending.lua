-- KEYS: fact, pending, revision, stream
-- ARGV: id, who writes, the most changes in the stream, their age
-- Marks a fact as pending with a new revision, unless it is gone or has a mark: another host may be
-- making the vector of that mark.
local wrong = mistyped({ false, 'zset', 'number' })
if wrong then
  return wrong
end
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' or redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return 0
end
local revision = redis.call('INCR', KEYS[3])
redis.call('ZADD', KEYS[2], revision, ARGV[1])
append(KEYS[4], revision, 'marked', ARGV[1], revision, ARGV[2], ARGV[3], ARGV[4])
return 1
