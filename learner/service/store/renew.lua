-- Renew the notes of many processes. KEYS: the hash of each model's. ARGV: the seconds until a hash expires; for each hash, the
-- note's name and text.
for i, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then -- else the model was deleted just now
    redis.pcall('HSET', key, ARGV[2 * i], ARGV[2 * i + 1])
    redis.pcall('EXPIRE', key, ARGV[1])
  end
end
return 0
