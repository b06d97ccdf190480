-- KEYS: fact, pending, revision
-- ARGV: id
-- Marks a fact as pending with a new revision, unless it is gone.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  return 0
end
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[1])
return 1
