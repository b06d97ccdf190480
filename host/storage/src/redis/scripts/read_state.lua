-- KEYS: registry, values, versions, expiry
-- ARGV: the registry's revision or '', key
-- Returns value, version and the milliseconds until it expires, or -1 for never; nothing if there is
-- no such key or it has expired.
local wrong = stale(KEYS[1], ARGV[1])
if wrong then
  return wrong
end
local value = redis.call('HGET', KEYS[2], ARGV[2])
if not value then
  return false
end
local left = -1
local expires = redis.call('ZSCORE', KEYS[4], ARGV[2])
if expires then
  local time = redis.call('TIME')
  left = tonumber(expires) - (time[1] * 1000 + math.floor(time[2] / 1000))
  if left <= 0 then
    return false
  end
end
return { value, tonumber(redis.call('HGET', KEYS[3], ARGV[2]) or 0), left }
