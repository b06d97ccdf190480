-- KEYS: order, registry
-- ARGV: the registry's revision or '', the most ids, then the order and the id after which to
-- continue, if any
-- Returns ids and their orders alternating, both descending.

-- Redis sorts members with equal scores by bytes, whereas Lua's `<` sorts by locale.
local function is_before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

local refused = stale(KEYS[2], ARGV[1])
if refused then
  return refused
end
local first = 0
if ARGV[3] then
  -- The rank at which to continue, whether or not the fact of the cursor still exists: after all
  -- newer facts, then found by bisection among those of the same order.
  first = redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[3], '+inf')
  local last = first + redis.call('ZCOUNT', KEYS[1], ARGV[3], ARGV[3])
  while first < last do
    local middle = math.floor((first + last) / 2)
    local id = redis.call('ZREVRANGE', KEYS[1], middle, middle)[1]
    if is_before(id, ARGV[4]) then
      last = middle
    else
      first = middle + 1
    end
  end
end
return redis.call('ZREVRANGE', KEYS[1], first, first + ARGV[2] - 1, 'WITHSCORES')
