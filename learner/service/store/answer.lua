-- Answers requests: of those that are still there it keeps what waits for an outcome, sends the reply, and removes the request.
-- So whoever reads a request, and whatever is killed or frozen meanwhile, it is answered once.
--
-- KEYS: 1. the requests; 2. the owner; 3. the names of kept answers by time, in Unix milliseconds; 4. the sum of their bytes;
-- then for each request the list to reply on, and the key to keep its answer at; where there is none, the first key again.
-- ARGV: 1. the owner's token if it answers, empty for an answerer; 2. for that, the token of an owner that is dead; 3. the
-- answerers' consumer group; 4. for how many seconds a list stays; 5. how many replies it keeps; 6. the group that every stream
-- has; then for each request its id, the reply, the name that its answer is kept under, and what is kept of it.
-- Returns nothing if it is another one's turn to answer. Else a list: for each request 0 if it was gone, the length of the list,
-- or why the list can't be written to; then, unless the third key is the first, the number of kept answers, the sum of their
-- bytes, how many names were there already, and why answers could not be kept.
local requests, kept, kept_bytes = KEYS[1], KEYS[3], KEYS[4]
local owner, note = unpack(redis.call('HMGET', KEYS[2], 'worker', 'answered_by'))
if ARGV[1] ~= '' then
  if owner ~= ARGV[1] or note then return false end
elseif owner and not note and owner ~= ARGV[2] then
  return false
end

local again, trouble = 0, ''
local function keep(key, name, data)
  if redis.call('ZCARD', kept) == 0 then redis.call('SET', kept_bytes, 0) end
  if redis.call('SETNX', key, data) == 1 then
    local time = redis.call('TIME')
    redis.call('ZADD', kept, string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000)), name)
    redis.call('INCRBY', kept_bytes, #data)
  else
    again = again + 1
  end
end

local lists = {} -- that stay for so long already
local function send(list, reply)
  local length = redis.pcall('RPUSH', list, reply)
  if type(length) == 'table' then return length.err end
  if not lists[list] then redis.call('EXPIRE', list, ARGV[4]) end
  lists[list] = true
  if length > tonumber(ARGV[5]) then redis.call('LTRIM', list, -ARGV[5], -1) end
  return length
end

local results, done, ends = {}, {}, false
for i = 1, (#ARGV - 6) / 4 do
  local id, reply, name, data = unpack(ARGV, 4 * i + 3, 4 * i + 6)
  local list, key = KEYS[2 * i + 3], KEYS[2 * i + 4]
  local result = 0
  if redis.call('XDEL', requests, id) == 1 then
    done[#done + 1] = id
    if key ~= requests then
      local is_kept, why = pcall(keep, key, name, data) -- a key that holds something else must not keep the reply
      if not is_kept then trouble = type(why) == 'table' and why.err or why end
    end
    result = list == requests and 1 or send(list, reply)
    ends = ends or id == '18446744073709551615-18446744073709551615'
  end
  results[#results + 1] = result
end
for i = 1, #done, 1000 do redis.call('XACK', requests, ARGV[3], unpack(done, i, math.min(i + 999, #done))) end
if ends and redis.call('XLEN', requests) == 0 then -- after the last possible id nothing can be added: it begins anew
  redis.call('DEL', requests)
  redis.call('XGROUP', 'CREATE', requests, ARGV[6], '0', 'MKSTREAM')
end
if kept ~= requests then
  local n, sizes = redis.pcall('ZCARD', kept), redis.pcall('GET', kept_bytes)
  results[#results + 1] = type(n) == 'number' and n or 0
  results[#results + 1] = type(sizes) == 'string' and tonumber(sizes) or 0
  results[#results + 1] = again
  results[#results + 1] = trouble
end
return results
