-- Puts a stream's copy in its place: copies the entries that came since, and keeps its counts, so that its position stays.
--
-- KEYS: 1. the stream; 2. its copy. ARGV: the id of the last entry that was looked at.
local last, final = ARGV[1], '18446744073709551615-18446744073709551615'
while last ~= final do
  local page = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 10)
  if #page == 0 then break end
  for i = 1, #page do
    redis.call('XADD', KEYS[2], page[i][1], unpack(page[i][2]))
    last = page[i][1]
  end
end
local info, reply = {}, redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #reply, 2 do info[reply[i]] = reply[i + 1] end
redis.call('XSETID', KEYS[2], info['last-generated-id'], 'ENTRIESADDED', info['entries-added'],
  'MAXDELETEDID', info['max-deleted-entry-id'])
redis.call('RENAME', KEYS[2], KEYS[1])
