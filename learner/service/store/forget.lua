-- Deletes answers that waited for their outcomes. It is part of a commit, so a key that holds something else must not end it.
--
-- KEYS: 1. the names of kept answers by time; 2. the sum of their bytes; then a key an answer. ARGV: the names.
local sizes = 0
for i = 3, #KEYS do
  local size = redis.pcall('STRLEN', KEYS[i])
  sizes = sizes + (type(size) == 'number' and size or 0)
  redis.call('UNLINK', KEYS[i])
  redis.pcall('ZREM', KEYS[1], ARGV[i - 2])
end
redis.pcall('DECRBY', KEYS[2], sizes)
