-- KEYS: fact, order, pending, revision, tenants, bytes
-- ARGV: id, tenant, order
-- Adopts a fact that another program wrote, unless it is listed already or is not a hash.
-- Returns whether it did, as 1 or 0.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' or redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return 0
end
local revision = redis.call('INCR', KEYS[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], revision, ARGV[1])
redis.call('SADD', KEYS[5], ARGV[2])
local bytes = 0
for _, part in ipairs(redis.call('HGETALL', KEYS[1])) do
  bytes = bytes + #part
end
redis.call('INCRBY', KEYS[6], bytes)
return 1
