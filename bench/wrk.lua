-- Load of bench/api.sh: GETs of one path, or POSTs of new projects; one line of numbers at the end.
-- usage: wrk ... -s bench/wrk.lua URL -- KEY METHOD TAG      TAG: part of the names of the projects, different in every round
local n_threads = 0
function setup(thread)
    n_threads = n_threads + 1
    thread:set("id", n_threads)
end

function init(args)
    wrk.headers["X-API-Key"] = args[1]
    wrk.method = args[2]
    if args[2] == "POST" then
        local prefix, n = args[3] .. "-" .. id .. "-", 0
        wrk.headers["Content-Type"] = "application/json"
        request = function()
            n = n + 1
            return wrk.format(nil, nil, nil, '{"name":"' .. prefix .. n .. '"}')
        end
    end
end

-- requests, seconds, p50 ms, p99 ms, answers that were errors or did not come
function done(summary, latency)
    local e = summary.errors
    io.write(string.format("result %d %.6f %.3f %.3f %d\n", summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
        latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
