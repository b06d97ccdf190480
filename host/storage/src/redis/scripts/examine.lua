-- KEYS: order, pending, revision, stream, seen, then facts
-- ARGV: who writes, the most changes in the stream, their age, then the facts' ids
-- Marks those listed facts as changed that another program has changed since they were last seen,
-- or that were never seen. Returns how many.
local wrong = mistyped({ 'zset', 'zset', 'number', false, 'hash' })
if wrong then
  return wrong
end
local changed = 0
for i = 4, #ARGV do
  local id, fact = ARGV[i], KEYS[i + 2]
  if redis.call('TYPE', fact).ok == 'hash' and redis.call('ZSCORE', KEYS[1], id) then
    local now = fingerprint(fact)
    if redis.call('HGET', KEYS[5], id) ~= now then
      local revision = redis.call('INCR', KEYS[3])
      redis.call('ZADD', KEYS[2], revision, id)
      redis.call('HSET', KEYS[5], id, now)
      append(KEYS[4], revision, 'changed', id, revision, ARGV[1], ARGV[2], ARGV[3])
      changed = changed + 1
    end
  end
end
return changed
