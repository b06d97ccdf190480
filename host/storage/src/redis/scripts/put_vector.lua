-- KEYS: fact, vector, pending, revision, stream
-- ARGV: id, revision, profile, digest, values, who writes, the most changes in the stream, their age
-- Stores the vector unless the fact is gone or has a vector of a newer revision. Clears the pending
-- mark if it has the vector's revision.
local wrong = mistyped({ false, false, 'zset', 'number' })
if wrong then
  return wrong
end
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  return 0
end
local revision = tonumber(ARGV[2])
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'none' and kind ~= 'hash' then
  redis.call('DEL', KEYS[2])
end
local known = tonumber(redis.call('HGET', KEYS[2], 'revision') or 0) or 0
if known <= revision then
  redis.call('HSET', KEYS[2],
    'profile', ARGV[3], 'digest', ARGV[4], 'values', ARGV[5], 'revision', ARGV[2])
  append(KEYS[5], redis.call('INCR', KEYS[4]), 'embedded', ARGV[1], revision, ARGV[6], ARGV[7], ARGV[8])
end
if tonumber(redis.call('ZSCORE', KEYS[3], ARGV[1]) or -1) == revision then
  redis.call('ZREM', KEYS[3], ARGV[1])
end
return 1
