-- KEYS: order, pending, stream, revision, bytes
-- ARGV: key prefix of facts, key prefix of vectors, the most bytes, a revision, the most changes, ids
-- Returns, of one moment: the tenant's last revision; the revision up to which what follows holds; what
-- tells the changes of that revision and of the given one from others, '' where that is not kept; the
-- first row of the listing; the number of facts and of their bytes; and facts: the given ones, or those
-- that were changed after the given revision, as many as the bytes allow, but one at least.
local last = redis.call('GET', KEYS[4]) or '0'
local after = tonumber(ARGV[4])
local has_stream = redis.call('TYPE', KEYS[3]).ok == 'stream'

-- Fields and values alternate: id, kind, of, by, at.
local function stamp(revision)
  local id = string.format('%.0f-0', revision)
  local entry = has_stream and redis.call('XRANGE', KEYS[3], id, id)[1]
  return entry and (entry[2][8] or '') .. '-' .. (entry[2][10] or '') or ''
end

local ids, upto, seen = {}, {}, {}
if #ARGV > 5 then
  for i = 6, #ARGV do
    ids[#ids + 1] = ARGV[i]
  end
elseif has_stream then
  local entries = redis.call('XRANGE', KEYS[3], '(' .. ARGV[4] .. '-0', '+', 'COUNT', ARGV[5])
  for i, entry in ipairs(entries) do
    if entry[1] ~= string.format('%.0f-0', after + i) then
      break
    end
    local id = entry[2][2]
    if not seen[id] then
      ids[#ids + 1] = id
      seen[id] = true
    end
    upto[i] = id
  end
end

local allowed, used = tonumber(ARGV[3]), 0
local items, sent = {}, {}
for i, id in ipairs(ids) do
  local fact = redis.pcall('HGETALL', ARGV[1] .. id)
  if fact.err then
    fact = {}
  end
  local vector = redis.pcall('HMGET', ARGV[2] .. id, 'profile', 'digest', 'values')
  if vector.err then
    vector = { false, false, false }
  end
  for _, part in ipairs(fact) do
    used = used + #part
  end
  used = used + (vector[3] and #vector[3] or 0)
  if used > allowed and i > 1 then
    break
  end
  local order = redis.call('ZSCORE', KEYS[1], id) or '-1'
  local pending = redis.call('ZSCORE', KEYS[2], id) and 1 or 0
  items[i] = { id, order, pending, fact, vector }
  sent[id] = true
end

local covered = after
for i, id in ipairs(upto) do
  if not sent[id] then
    break
  end
  covered = after + i
end
return {
  last, string.format('%.0f', covered), stamp(covered), stamp(after),
  redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES'),
  redis.call('ZCARD', KEYS[1]), redis.call('GET', KEYS[5]) or '0', items,
}
