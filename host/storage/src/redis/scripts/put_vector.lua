-- KEYS: fact, vector, pending
-- ARGV: id, revision, profile, digest, values
-- Stores the vector unless the fact is gone or has a vector of a newer revision. Clears the pending
-- mark if it has the vector's revision.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  return 0
end
local revision = tonumber(ARGV[2])
local known = tonumber(redis.call('HGET', KEYS[2], 'revision') or 0)
if known <= revision then
  redis.call('HSET', KEYS[2],
    'profile', ARGV[3], 'digest', ARGV[4], 'values', ARGV[5], 'revision', ARGV[2])
end
if tonumber(redis.call('ZSCORE', KEYS[3], ARGV[1]) or -1) == revision then
  redis.call('ZREM', KEYS[3], ARGV[1])
end
return 1
