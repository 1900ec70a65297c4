-- What wrk sends and tells: `wrk -s wrk.lua URL -- FILE [MARK]`.
-- FILE holds the request, byte for byte. Without MARK wrk repeats it; with it, each request has another number of the same
-- length in the mark's place.

local function read(path)
    local file = assert(io.open(path, "rb"))
    local bytes = file:read("*a")
    file:close()
    return bytes
end

function init(args)
    local bytes, mark = read(args[1]), args[2]
    if mark then
        local from, to = bytes:find(mark, 1, true)
        local before, after, number = bytes:sub(1, from - 1), bytes:sub(to + 1), 0
        local format, shape = string.format, "%0" .. #mark .. "d"
        function request()
            number = number + 1
            return before .. format(shape, number) .. after
        end
    end
    wrk.format = function() return bytes end
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format(
        'BENCH {"requests": %d, "us": %d, "p50": %d, "p99": %d, "failed": %d, "broken": %d}',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
        errors.connect + errors.read + errors.write + errors.timeout
    ))
end
