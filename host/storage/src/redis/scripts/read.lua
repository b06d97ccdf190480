-- KEYS: facts
-- ARGV: how many bytes of names and values to answer at most
-- Answers hashes, cut at the last whole one that fits; a number, the size of the first hash, if
-- that alone does not.
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
