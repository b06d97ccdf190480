-- KEYS: fact, order, pending, revision, vector, bytes
-- ARGV: id
-- Removes what remains of a fact that another program deleted, unless it exists again. Returns
-- whether it did, as 1 or 0.
if redis.call('TYPE', KEYS[1]).ok == 'hash' then
  return 0
end
local facts = redis.call('ZCARD', KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[5])
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then
  return 0
end
redis.call('INCR', KEYS[4])
-- Its size is unknown, so the average is subtracted.
local bytes = tonumber(redis.call('GET', KEYS[6]) or 0)
redis.call('SET', KEYS[6], string.format('%.0f', bytes - bytes / facts))
return 1
