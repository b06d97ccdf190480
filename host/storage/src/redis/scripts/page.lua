-- KEYS: order
-- ARGV: how many, then the order and the id of the last one that was listed, if any
-- Answers ids and their orders in turn, both descending.

-- Redis sorts equal orders by bytes. Lua's `<` sorts by locale.
local function is_before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

local first = 0
if ARGV[2] then
  -- The rank of the place after which to go on, whether or not a fact still stands there: behind
  -- all that are newer, then, by bisection, among those of the same order.
  first = redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[2], '+inf')
  local last = first + redis.call('ZCOUNT', KEYS[1], ARGV[2], ARGV[2])
  while first < last do
    local middle = math.floor((first + last) / 2)
    local id = redis.call('ZREVRANGE', KEYS[1], middle, middle)[1]
    if is_before(id, ARGV[3]) then
      last = middle
    else
      first = middle + 1
    end
  end
end
return redis.call('ZREVRANGE', KEYS[1], first, first + ARGV[1] - 1, 'WITHSCORES')
