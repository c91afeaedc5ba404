-- Deletes answers that waited for their outcomes.
--
-- KEYS: as of keep.lua. ARGV: the names.
local sizes = 0
for i = 3, #KEYS do
  sizes = sizes + redis.call('STRLEN', KEYS[i])
  redis.call('UNLINK', KEYS[i])
  redis.call('ZREM', KEYS[1], ARGV[i - 2])
end
return redis.call('DECRBY', KEYS[2], sizes)
