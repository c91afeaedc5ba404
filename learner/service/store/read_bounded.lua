-- Reads streams until there are so many entries or so many bytes of each.
--
-- KEYS: the streams. ARGV: the bytes to stop at; the bytes of the largest entry that is returned whole; how many bytes are
-- kept of the first field of a larger one; the name of the field that then holds its size; and for each stream, how many
-- entries to return at most and the id to read after. Returns for each stream a list of {id, {field, value, ...}}.
-- It reads four entries at a time, so that the server never holds many large ones.
local most, largest, kept, name = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local streams = {}
for k = 1, #KEYS do
  local count, after, room, entries = tonumber(ARGV[3 + 2 * k]), ARGV[4 + 2 * k], most, {}
  while room > 0 and #entries < count do
    local page = redis.call('XRANGE', KEYS[k], '(' .. after, '+', 'COUNT', math.min(4, count - #entries))
    if #page == 0 then break end
    for i = 1, #page do
      local entry, size = page[i], 0
      for j = 1, #entry[2] do size = size + #entry[2][j] end
      if size > largest then
        entry = {entry[1], {string.sub(entry[2][1], 1, kept), string.sub(entry[2][2], 1, kept), name, tostring(size)}}
        size = kept
      end
      entries[#entries + 1] = entry
      room = room - size
      after = entry[1]
      if room <= 0 then break end
    end
  end
  streams[k] = entries
end
return streams
