-- Renew the notes of many processes. KEYS: the hash of each model's. ARGV: the seconds until a hash expires; for each hash, the
-- note's name and text.
for i, key in ipairs(KEYS) do
  redis.pcall('HSET', key, ARGV[2 * i], ARGV[2 * i + 1])
  redis.pcall('EXPIRE', key, ARGV[1])
end
return 0
