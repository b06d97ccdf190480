-- KEYS: order, pending, revision, tenants, bytes, stream, claim, seen, used, allowances, spaces
-- ARGV: tenant, the most facts to delete, key prefix of facts, key prefix of vectors, key prefix of what
-- extensions keep
-- Deletes some of a tenant's facts, newest first, and returns how many. A call that deletes fewer
-- than allowed leaves nothing of the tenant.
local wrong = mistyped({ 'zset', 'zset', false, 'set', false, false, false, false, false, false, 'set' })
if wrong then
  return wrong
end
local ids = redis.call('ZREVRANGE', KEYS[1], 0, ARGV[2] - 1)
for _, id in ipairs(ids) do
  redis.call('UNLINK', ARGV[3] .. id, ARGV[4] .. id)
  redis.call('ZREM', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
if #ids < tonumber(ARGV[2]) then
  for _, extension in ipairs(redis.call('SMEMBERS', KEYS[11])) do
    local space = ARGV[5] .. extension
    redis.call('UNLINK', space .. ':usage', space .. ':values', space .. ':versions', space .. ':keys',
      space .. ':expiry')
  end
  redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], unpack(KEYS, 5))
  redis.call('SREM', KEYS[4], ARGV[1])
end
return #ids
