-- KEYS: fact, order, pending, revision, vector
-- ARGV: id
-- Answers the revision, or nothing if the fact was not there. What is left of a fact that another
-- program deleted goes either way.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'hash' then
  return redis.error_reply('WRONGTYPE the key of this fact holds a ' .. kind)
end
-- A deletion is never refused for lack of memory; counting it, done first, would be.
redis.call('DEL', KEYS[1], KEYS[5])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if kind == 'none' then
  return false
end
return redis.call('INCR', KEYS[4])
