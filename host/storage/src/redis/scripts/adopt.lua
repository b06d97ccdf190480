-- KEYS: fact, order, pending, revision, tenants, bytes, stream, seen
-- ARGV: id, tenant, order, who writes, the most changes in the stream, their age
-- Adopts a fact that another program wrote, unless it is listed already or is not a hash with the
-- field `content`. Returns whether it did, as 1 or 0.
local wrong = mistyped({ false, 'zset', 'zset', 'number', 'set', 'number', false, 'hash' })
if wrong then
  return wrong
end
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' or redis.call('HEXISTS', KEYS[1], 'content') == 0
  or redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return 0
end
local revision = redis.call('INCR', KEYS[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], revision, ARGV[1])
redis.call('SADD', KEYS[5], ARGV[2])
redis.call('HSET', KEYS[8], ARGV[1], fingerprint(KEYS[1]))
local bytes = 0
for _, part in ipairs(redis.call('HGETALL', KEYS[1])) do
  bytes = bytes + #part
end
redis.call('INCRBY', KEYS[6], bytes)
append(KEYS[7], revision, 'stored', ARGV[1], revision, ARGV[4], ARGV[5], ARGV[6])
return 1
