-- KEYS: registry, keys, expiry
-- ARGV: the registry's revision or '', prefix, where to begin as for ZRANGEBYLEX, the most keys
-- Returns the key after which the next page begins, or nothing, and the keys that have not expired.
local wrong = stale(KEYS[1], ARGV[1])
if wrong then
  return wrong
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, last, is_more, living = tonumber(ARGV[4]), false, false, {}
for i, key in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], ARGV[3], '+', 'LIMIT', 0, most + 1)) do
  if string.sub(key, 1, #ARGV[2]) ~= ARGV[2] then
    break
  end
  if i > most then
    is_more = true
    break
  end
  last = key
  local expires = redis.call('ZSCORE', KEYS[3], key)
  if not expires or tonumber(expires) > now then
    living[#living + 1] = key
  end
end
return { is_more and last, living }
