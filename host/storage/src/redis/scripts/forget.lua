-- KEYS: fact, order, pending, revision, vector
-- ARGV: id
-- Lets go of a fact that another program deleted, unless it is back.
if redis.call('TYPE', KEYS[1]).ok == 'hash' then
  return 0
end
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[5])
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then
  return 0
end
redis.call('INCR', KEYS[4])
return 1
