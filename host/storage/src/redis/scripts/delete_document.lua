-- KEYS: document, names, versions, revision
-- ARGV: name, expected version, key prefix of pieces
-- Returns 1, or 0 if the document does not have the expected version.
local wrong = mistyped({ 'hash', 'zset', 'hash', 'number' })
if wrong then
  return wrong
end
if redis.call('HGET', KEYS[3], ARGV[1]) ~= ARGV[2] then
  return 0
end
local old = redis.call('HMGET', KEYS[1], 'pieces', 'token')
-- This comes first because Redis never refuses UNLINK for lack of memory, unlike the commands
-- below.
redis.call('UNLINK', KEYS[1])
redis.call('INCR', KEYS[4])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
for i = 1, tonumber(old[1] or 0) do
  redis.call('UNLINK', ARGV[3] .. old[2] .. ':' .. i)
end
return 1
