-- KEYS: facts
-- ARGV: the most bytes of names and values to return
-- Returns hashes, up to the last one that fits as a whole. If not even the first fits, returns its
-- size instead.
local allowed = tonumber(ARGV[1])
local used = 0
local hashes = {}
for i = 1, #KEYS do
  local fields = redis.call('HGETALL', KEYS[i])
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
