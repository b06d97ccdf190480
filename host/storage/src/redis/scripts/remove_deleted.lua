-- KEYS: fact, order, pending, revision, vector, bytes, stream and, in the flat layout, seen
-- ARGV: id, who writes, the most changes in the stream, their age
-- Removes what remains of a fact whose key is gone, because another program deleted it or Redis
-- evicted it. Returns the revision of the removal; 0 if nothing remained; -1 if the key exists.
local wrong = mistyped({ false, 'zset', 'zset', 'number', false, 'number', false, 'hash' })
if wrong then
  return wrong
end
if redis.call('TYPE', KEYS[1]).ok ~= 'none' then
  return -1
end
local facts = redis.call('ZCARD', KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[5])
if KEYS[8] then
  redis.call('HDEL', KEYS[8], ARGV[1])
end
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then
  return 0
end
-- Its size is unknown, so the average is subtracted.
local bytes = tonumber(redis.call('GET', KEYS[6]) or 0)
redis.call('SET', KEYS[6], string.format('%.0f', bytes - bytes / facts))
local revision = redis.call('INCR', KEYS[4])
append(KEYS[7], revision, 'deleted', ARGV[1], revision, ARGV[2], ARGV[3], ARGV[4])
return revision
