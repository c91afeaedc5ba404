-- Keeps answers until their outcomes come; the first one under a name stays.
--
-- KEYS: 1. the sorted set of the names by the time of the answer, in Unix milliseconds; 2. the sum of the bytes kept; then a key an
-- answer. ARGV: for each answer its name and what is kept.
-- Returns the number of answers kept, the sum of their bytes, and how many of these names were there already.
local time, again = redis.call('TIME'), 0
local now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
if redis.call('ZCARD', KEYS[1]) == 0 then redis.call('SET', KEYS[2], 0) end
for i = 3, #KEYS do
  local name, data = ARGV[2 * i - 5], ARGV[2 * i - 4]
  if redis.call('SETNX', KEYS[i], data) == 1 then
    redis.call('ZADD', KEYS[1], now, name)
    redis.call('INCRBY', KEYS[2], #data)
  else
    again = again + 1
  end
end
return {redis.call('ZCARD', KEYS[1]), tonumber(redis.call('GET', KEYS[2]) or 0), again}
