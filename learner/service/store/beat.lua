-- Give a sign of life for each of many owners that still is one.
-- KEYS: for each, the hash of its model's owner and the key of its sign. ARGV: for each, its token, its epoch and its sign.
-- Returns, for each, 1 if it is the owner, else the token and the epoch of the one that is.
local found = {}
for i = 1, #KEYS / 2 do
  local identity = redis.pcall('HMGET', KEYS[2 * i - 1], 'worker', 'epoch')
  if identity.err then -- something else is there: it is no owner any more, and no other model is to suffer
    identity = {false, false}
  end
  if identity[1] == ARGV[3 * i - 2] and identity[2] == ARGV[3 * i - 1] then
    redis.pcall('SET', KEYS[2 * i], ARGV[3 * i], 'XX') -- only a takeover creates the key
    found[i] = 1
  else
    found[i] = identity
  end
end
return found
