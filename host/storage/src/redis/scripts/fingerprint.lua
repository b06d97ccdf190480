-- A fingerprint of a fact's fields, in whatever order Redis has them.
local function fingerprint(fact)
  local fields = redis.call('HGETALL', fact)
  local parts = {}
  for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    parts[#parts + 1] = #name .. ':' .. #value .. ':' .. name .. value
  end
  table.sort(parts)
  return string.sub(redis.sha1hex(table.concat(parts)), 1, 16)
end

