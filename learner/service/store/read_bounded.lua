-- Reads entries from streams, of each at most a number of entries and about a number of bytes.
--
-- KEYS: the streams. ARGV: 1. the number of bytes of a stream after which to stop; 2. the size in bytes of the largest entry
-- that is returned whole; 3. the bytes that are kept of the first field's name and value of a larger entry; and for each stream
-- the number of entries to return at most, and the id to read after.
-- Returns for each stream a list of {id, {field, value, ...}}, or, of a larger entry, {id, {field, value}, size}.
-- It reads four entries at a time, so that the script never holds many large entries.
local most, largest, kept = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local streams, last = {}, '18446744073709551615-18446744073709551615' -- the last possible id: nothing comes after it
for k = 1, #KEYS do
  local count, after, room, entries = tonumber(ARGV[2 + 2 * k]), ARGV[3 + 2 * k], most, {}
  while room > 0 and #entries < count and after ~= last do
    local page = redis.call('XRANGE', KEYS[k], '(' .. after, '+', 'COUNT', math.min(4, count - #entries))
    if #page == 0 then break end
    for i = 1, #page do
      local entry, size = page[i], 0
      for j = 1, #entry[2] do size = size + #entry[2][j] end
      if size > largest then
        entry = {entry[1], {string.sub(entry[2][1], 1, kept), string.sub(entry[2][2], 1, kept)}, size}
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
