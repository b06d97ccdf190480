-- KEYS: fact, order, pending, revision, vector, bytes
-- ARGV: id
-- Returns the revision, or nothing if the fact does not exist. What remains of a fact that another
-- program deleted is removed in any case.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'hash' then
  return redis.error_reply('WRONGTYPE the key of this fact has the type ' .. kind)
end
local bytes = tonumber(redis.call('GET', KEYS[6]) or 0)
if kind == 'hash' then
  for _, part in ipairs(redis.call('HGETALL', KEYS[1])) do
    bytes = bytes - #part
  end
end
-- This comes first because Redis never refuses DEL for lack of memory, unlike the commands below.
redis.call('DEL', KEYS[1], KEYS[5])
local facts = redis.call('ZCARD', KEYS[2])
local listed = redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if kind == 'none' then
  if listed == 1 then
    -- Its size is unknown, so the average is subtracted.
    redis.call('SET', KEYS[6], string.format('%.0f', bytes - bytes / facts))
  end
  return false
end
redis.call('SET', KEYS[6], string.format('%.0f', math.max(bytes, 0)))
return redis.call('INCR', KEYS[4])
