-- Has a consumer group forget a consumer, and those that were silent for long; but none that still has an entry.
--
-- KEYS: the stream. ARGV: 1. the group; 2. the consumer; 3. the milliseconds of silence.
local consumers = redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
for i = 1, #consumers do
  local about = {}
  for j = 1, #consumers[i], 2 do about[consumers[i][j]] = consumers[i][j + 1] end
  if about.pending == 0 and (about.name == ARGV[2] or about.idle > tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], about.name)
  end
end
