-- KEYS: fact, order, pending, revision, vector, tenants
-- ARGV: id, tenant, condition, order, then field and value in turn
-- Answers the revision, or nothing if the condition does not hold.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'hash' then
  return redis.error_reply('WRONGTYPE the key of this fact holds a ' .. kind)
end
if (ARGV[3] == 'present') ~= (kind == 'hash') then
  return false
end
-- First the command that Redis may refuse (out of memory, read-only): later ones are not.
local revision = redis.call('INCR', KEYS[4])
-- In steps, because Lua's stack does not hold any number of arguments.
for first = 5, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if kind == 'none' then
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
  redis.call('DEL', KEYS[5])
end
redis.call('ZADD', KEYS[3], revision, ARGV[1])
redis.call('SADD', KEYS[6], ARGV[2])
return revision
