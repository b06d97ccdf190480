-- KEYS: document, names, versions, revision, then the keys of its pieces, in order
-- ARGV: name, expected version or '', key prefix of pieces, length, then the bytes or, if there are
-- pieces, their token
-- Returns the new version, or nothing if the document does not have the expected one.
local wrong = mistyped({ 'hash', 'zset', 'hash', 'number' })
if wrong then
  return wrong
end
if (redis.call('HGET', KEYS[3], ARGV[1]) or '') ~= ARGV[2] then
  return false
end
-- Pieces expire unless a document names them, so that a writer that crashed leaves nothing behind.
for i = 5, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    return redis.error_reply('EXPIRED a piece of the document has expired; write it again')
  end
end
local old = redis.call('HMGET', KEYS[1], 'pieces', 'token')
-- Redis may refuse the first modifying command (out of memory, read-only), but not later ones.
local version = redis.call('INCR', KEYS[4])
if #KEYS > 4 then
  for i = 5, #KEYS do
    redis.call('PERSIST', KEYS[i])
  end
  redis.call('HSET', KEYS[1], 'version', version, 'length', ARGV[4],
    'pieces', #KEYS - 4, 'token', ARGV[5], 'bytes', '')
else
  redis.call('HSET', KEYS[1], 'version', version, 'length', ARGV[4],
    'pieces', 0, 'token', '', 'bytes', ARGV[5])
end
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], version)
for i = 1, tonumber(old[1] or 0) do
  redis.call('UNLINK', ARGV[3] .. old[2] .. ':' .. i)
end
return version
