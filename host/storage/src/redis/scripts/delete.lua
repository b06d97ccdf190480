-- KEYS: fact, order, pending, revision, vector, bytes, stream, registry and, in the flat layout,
-- seen
-- ARGV: id, who writes, the most changes in the stream, their age, the registry's revision or ''
-- Returns the revision, or nothing if the fact does not exist. What remains of a fact that another
-- program deleted is removed in any case. A key that is not a hash is no fact, and is left as it is.
local wrong = mistyped({ false, 'zset', 'zset', 'number', false, 'number', false, false, 'hash' })
  or stale(KEYS[8], ARGV[5])
if wrong then
  return wrong
end
local kind = redis.call('TYPE', KEYS[1]).ok
local bytes = tonumber(redis.call('GET', KEYS[6]) or 0)
if kind == 'hash' then
  for _, part in ipairs(redis.call('HGETALL', KEYS[1])) do
    bytes = bytes - #part
  end
end
-- This comes first because Redis never refuses DEL for lack of memory, unlike the commands below.
redis.call('DEL', KEYS[5])
if kind == 'hash' then
  redis.call('DEL', KEYS[1])
end
local facts = redis.call('ZCARD', KEYS[2])
local listed = redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if KEYS[9] then
  redis.call('HDEL', KEYS[9], ARGV[1])
end
if kind ~= 'hash' then
  if listed == 1 then
    -- Its size is unknown, so the average is subtracted.
    redis.call('SET', KEYS[6], string.format('%.0f', bytes - bytes / facts))
  end
  return false
end
redis.call('SET', KEYS[6], string.format('%.0f', math.max(bytes, 0)))
local revision = redis.call('INCR', KEYS[4])
append(KEYS[7], revision, 'deleted', ARGV[1], revision, ARGV[2], ARGV[3], ARGV[4])
return revision
