-- KEYS: fact, order, pending, revision, vector, tenants, bytes, stream, registry and, in the flat
-- layout, seen
-- ARGV: id, tenant, condition, order, the most facts, the most bytes, who writes, the most changes in
-- the stream, their age, the registry's revision or '', how many fields must have a certain value,
-- their names and values alternating, then names and values of the fields to set, each name once
-- Returns the revision; nothing if the condition does not hold; the name of the quota and what is
-- used of it if the write would exceed it.
-- A key that is not a hash is no fact, and neither changed nor replaced.
local wrong = mistyped({
  false, 'zset', 'zset', 'number', false, 'set', 'number', false, false, 'hash',
}) or stale(KEYS[9], ARGV[10])
if wrong then
  return wrong
end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= (ARGV[3] == 'present' and 'hash' or 'none') then
  return false
end
local first_set = 12 + 2 * tonumber(ARGV[11])
for i = 12, first_set - 1, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[i + 1] then
    return false
  end
end
local added = 0
for i = first_set, #ARGV, 2 do
  added = added + #ARGV[i + 1]
  if kind == 'hash' and redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    added = added - redis.call('HSTRLEN', KEYS[1], ARGV[i])
  else
    added = added + #ARGV[i]
  end
end
local facts = redis.call('ZCARD', KEYS[2])
if kind == 'none' and facts >= tonumber(ARGV[5]) then
  return { 'facts', facts }
end
local bytes = tonumber(redis.call('GET', KEYS[7]) or 0)
if added > 0 and bytes + added > tonumber(ARGV[6]) then
  return { 'bytes', bytes }
end
-- Redis may refuse the first modifying command (out of memory, read-only), but not later ones.
local revision = redis.call('INCR', KEYS[4])
-- In chunks, because Lua's stack limits the number of arguments.
for first = first_set, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if kind == 'none' then
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
  redis.call('DEL', KEYS[5])
end
if KEYS[10] then
  redis.call('HSET', KEYS[10], ARGV[1], fingerprint(KEYS[1]))
end
redis.call('ZADD', KEYS[3], revision, ARGV[1])
redis.call('SADD', KEYS[6], ARGV[2])
-- Never below zero: facts written before bytes were counted are missing from the count.
redis.call('SET', KEYS[7], string.format('%.0f', math.max(bytes + added, 0)))
append(KEYS[8], revision, kind == 'none' and 'stored' or 'changed', ARGV[1], revision, ARGV[7], ARGV[8],
  ARGV[9])
return revision
