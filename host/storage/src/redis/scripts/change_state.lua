-- KEYS: registry, spaces, usage, values, versions, keys, expiry
-- ARGV: the registry's revision or '', extension, key, 'set', 'increment' or 'delete', the expected
-- version or '' for any, the value or what to add, for how many milliseconds or '', the most keys, the
-- most bytes, the most expired keys to remove
-- Returns 'set' and the version, 'number' and the sum, 'deleted' and 1 or 0, 'lost' and the version or
-- 0, or 'text' for a value that is no number; the name of the quota and what is needed of it if the
-- change would exceed it.
local wrong = mistyped({ false, 'set', 'hash', 'hash', 'hash', 'zset', 'zset' }) or stale(KEYS[1], ARGV[1])
if wrong then
  return wrong
end
local usage, values, versions, keys, expiry = unpack(KEYS, 3)
local key, kind, argument = ARGV[3], ARGV[4], ARGV[6]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function drop(name)
  redis.call('HINCRBY', usage, 'bytes', -#name - redis.call('HSTRLEN', values, name))
  redis.call('HDEL', values, name)
  redis.call('HDEL', versions, name)
  redis.call('ZREM', keys, name)
  redis.call('ZREM', expiry, name)
end

for _, name in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', now, 'LIMIT', 0, ARGV[10])) do
  drop(name)
end
local expires = redis.call('ZSCORE', expiry, key)
if expires and tonumber(expires) <= now then
  drop(key)
end
local version = tonumber(redis.call('HGET', versions, key) or 0)
if ARGV[5] ~= '' and tonumber(ARGV[5]) ~= version then
  return { 'lost', version }
end
if kind == 'delete' then
  if version > 0 then
    drop(key)
  end
  return { 'deleted', version > 0 and 1 or 0 }
end
local count = redis.call('HLEN', values)
if version == 0 and count >= tonumber(ARGV[8]) then
  return { 'state_keys', count + 1 }
end
local before = redis.call('HGET', values, key)
local length = #argument
if kind == 'increment' then
  -- Redis counts in 64 bits, which a number of Lua does not have.
  local sum = redis.pcall('HINCRBY', values, key, argument)
  if type(sum) == 'table' and sum.err then
    if string.find(sum.err, 'integer') or string.find(sum.err, 'overflow') then
      return { 'text' }
    end
    return sum
  end
  argument = redis.call('HGET', values, key)
  length = #argument
end
local added = before and length - #before or length + #key
local bytes = tonumber(redis.call('HGET', usage, 'bytes') or 0)
if added > 0 and bytes + added > tonumber(ARGV[9]) then
  if kind == 'increment' and before then
    redis.call('HSET', values, key, before)
  elseif kind == 'increment' then
    redis.call('HDEL', values, key)
  end
  return { 'state_bytes', bytes + added }
end
-- Redis may refuse the first modifying command (out of memory, read-only), but not later ones.
local new = redis.call('HINCRBY', usage, 'version', 1)
redis.call('HINCRBY', usage, 'bytes', added)
redis.call('HSET', values, key, argument)
redis.call('HSET', versions, key, new)
redis.call('ZADD', keys, 0, key)
redis.call('SADD', KEYS[2], ARGV[2])
if kind == 'set' or version == 0 then
  if ARGV[7] == '' then
    redis.call('ZREM', expiry, key)
  else
    redis.call('ZADD', expiry, string.format('%.0f', now + ARGV[7]), key)
  end
end
if kind == 'increment' then
  return { 'number', argument }
end
return { 'set', new }
