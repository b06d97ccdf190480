-- KEYS: registry, then facts
-- ARGV: the registry's revision or '', the most bytes of names and values to return
-- Returns hashes, up to the last one that fits as a whole. If not even the first fits, returns its
-- size instead. A key that is not a hash is no fact, and is returned like one that does not exist.
local refused = stale(KEYS[1], ARGV[1])
if refused then
  return refused
end
local allowed = tonumber(ARGV[2])
local used = 0
local hashes = {}
for i = 1, #KEYS - 1 do
  local fields = redis.pcall('HGETALL', KEYS[i + 1])
  if fields.err then
    fields = {}
  end
  local size = 0
  for j = 1, #fields do
    size = size + #fields[j]
  end
  if used + size > allowed then
    if i == 1 then
      return size
    end
    break
  end
  used = used + size
  hashes[i] = fields
end
return hashes
