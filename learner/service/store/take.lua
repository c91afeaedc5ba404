-- Hands requests out to a consumer of a group: at most a number, and about a number of bytes.
--
-- KEYS: the stream. ARGV: 1. the group; 2. the consumer; 3. the number of entries; 4. the number of bytes after which to stop.
-- Returns a list of {id, {field, value, ...}}. It takes four at a time, so that the script never holds many large entries.
local most, room, entries = tonumber(ARGV[3]), tonumber(ARGV[4]), {}
while room > 0 and #entries < most do
  local count = math.min(4, most - #entries)
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', count, 'STREAMS', KEYS[1], '>')
  if not reply then break end
  local page = reply[1][2]
  for i = 1, #page do
    for j = 1, #page[i][2] do room = room - #page[i][2][j] end
    entries[#entries + 1] = page[i]
  end
  if #page < count then break end
end
return entries
