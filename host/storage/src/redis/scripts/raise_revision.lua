-- KEYS: revision, stream
-- ARGV: revision
-- Raises a tenant's revision to at least this one, and empties its stream.
local wrong = mistyped({ 'number' })
if wrong then
  return wrong
end
if tonumber(redis.call('GET', KEYS[1]) or 0) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1])
end
redis.call('UNLINK', KEYS[2])
return 1
