-- A tour of AtomKV through LuaJIT's ffi: put, get, scan, a transaction, an error. usage: luajit tour.lua DIRECTORY
--
-- The idiom: ffi.gc ties the free function to the pointer, so that the collector calls it; where the moment matters,
-- release() frees at once and unties. The collector goes in any order, which the library allows: a table, an iterator
-- or a transaction keeps its database alive. LuaJIT compiles these calls to machine code, as cheap as from C.
--
-- The declarations come from atomkv.cdef, which is atomkv.h without macros and comments. ATOMKV_CDEF tells where it is.

local ffi = require("ffi")

local here = arg[0]:match("^(.*)/[^/]*$") or "."
local function read_cdef()
    for _, path in ipairs({ os.getenv("ATOMKV_CDEF") or here .. "/../../include/atomkv.cdef",
                            "/usr/local/include/atomkv.cdef", "/usr/include/atomkv.cdef" }) do
        local file = io.open(path, "r")
        if file then
            local text = file:read("*a")
            file:close()
            return text
        end
    end
    error("atomkv.cdef was not found; set ATOMKV_CDEF to its path", 0)
end

ffi.cdef(read_cdef())
local C = ffi.load(os.getenv("ATOMKV_LIBRARY") or "libatomkv.so.0")

-- A negative status becomes a Lua error that is a table, with the fields of the error object.
local failure = { __tostring = function(self) return self.name .. ": " .. self.message end }

local function text(pointer)
    return pointer ~= nil and ffi.string(pointer) or nil
end

local function fail(status, object)
    local values = { status = tonumber(status), name = text(C.atomkv_status_name(status)) }
    if object ~= nil then
        values.message = text(C.atomkv_error_message(object))
        values.path = text(C.atomkv_error_path(object))
        values.table = text(C.atomkv_error_table(object))
        C.atomkv_error_free(object)
    else
        -- The message of this thread's last error: read it before any other call.
        values.message = text(C.atomkv_last_error())
    end
    error(setmetatable(values, failure), 0)
end

-- Gives statuses that are no errors back. `object`: NULL, or the error object that came with the status.
local function check(status, object)
    if status < 0 then fail(status, object) end
    return status
end

-- Frees a handle now instead of when it is collected.
local function release(handle, free)
    ffi.gc(handle, nil)
    free(handle)
end

local function open(directory)
    local db, err = ffi.new("atomkv_db *[1]"), ffi.new("atomkv_error *[1]")
    check(C.atomkv_open(directory, nil, db, err), err[0])
    return ffi.gc(db[0], C.atomkv_db_free)
end

local function open_table(db, name, ordered)
    local options = ffi.gc(C.atomkv_table_options_new(), C.atomkv_table_options_free)
    check(C.atomkv_table_options_set_ordered(options, ordered and 1 or 0))
    local handle, err = ffi.new("atomkv_table *[1]"), ffi.new("atomkv_error *[1]")
    check(C.atomkv_table_open(db, name, options, handle, err), err[0])
    return ffi.gc(handle[0], C.atomkv_table_free)
end

local function put(handle, key, value)
    check(C.atomkv_put(handle, key, #key, value, #value, nil))
end

-- First way to read: into a buffer of ours, which is used again and again.
local buffer, size = ffi.new("char[64]"), ffi.new("size_t[1]")
local function get(handle, key)
    if check(C.atomkv_get(handle, key, #key, buffer, ffi.sizeof(buffer), size)) == C.ATOMKV_NOT_FOUND then return nil end
    return ffi.string(buffer, size[0])
end

-- Second way: into memory of the library's, copied to a string and given back at once. Good for values of any size.
local owned = ffi.new("atomkv_buffer")
local function take()
    local value = ffi.string(owned.data, owned.size)
    C.atomkv_free(owned.data)
    return value
end

local function get_owned(handle, key)
    if check(C.atomkv_get_owned(handle, key, #key, owned)) == C.ATOMKV_NOT_FOUND then return nil end
    return take()
end

-- An iterator for `for`. The bytes live until the next call only; ffi.string copies them.
local function scan(handle, prefix)
    local options = ffi.gc(C.atomkv_scan_options_new(), C.atomkv_scan_options_free)
    check(C.atomkv_scan_options_set_prefix(options, prefix, #prefix))
    local created = ffi.new("atomkv_iter *[1]")
    check(C.atomkv_iter_new(handle, options, created))
    local rows = ffi.gc(created[0], C.atomkv_iter_free)
    local key, value = ffi.new("atomkv_slice"), ffi.new("atomkv_slice")
    return function()
        if check(C.atomkv_iter_next(rows, key, value, nil)) == C.ATOMKV_DONE then return nil end
        return ffi.string(key.data, key.size), ffi.string(value.data, value.size)
    end
end

local function begin(db)
    local txn, err = ffi.new("atomkv_txn *[1]"), ffi.new("atomkv_error *[1]")
    check(C.atomkv_txn_begin(db, txn, err), err[0])
    return ffi.gc(txn[0], C.atomkv_txn_free)
end

-- Runs work(txn) and commits, again from the beginning while somebody else has changed what it has read. A transaction
-- is not left to the collector: until it is freed it holds old versions.
local function transact(db, work)
    local attempt = 0
    while true do
        attempt = attempt + 1
        local txn = begin(db)
        local good, problem = pcall(function()
            work(txn, attempt)
            local err = ffi.new("atomkv_error *[1]")
            check(C.atomkv_txn_commit(txn, C.ATOMKV_DURABILITY_BUFFERED, nil, err), err[0])
        end)
        release(txn, C.atomkv_txn_free)
        if good then
            print(("attempt %d: %s"):format(attempt, text(C.atomkv_status_name(C.ATOMKV_OK))))
            return
        end
        if type(problem) ~= "table" or problem.status ~= tonumber(C.ATOMKV_ERR_CONFLICT) then error(problem, 0) end
        print(("attempt %d: %s in table %s"):format(attempt, problem.name, problem.table))
    end
end

local function main(directory)
    print("ABI: " .. C.atomkv_abi_version())
    local db = open(directory)
    -- Only an ordered table is scanned in the order of its keys, and by a prefix without looking at all of them.
    local users, accounts = open_table(db, "users", true), open_table(db, "accounts", false)

    put(users, "user:alan", "logician")
    put(users, "user:ada", "countess")
    put(users, "user:grace", "admiral")
    put(users, "group:all", "3")
    local value = get(users, "user:ada")
    print(("get: %s (%d bytes)"):format(value, #value))
    print("owned: " .. get_owned(users, "user:alan"))
    print("missing: " .. text(C.atomkv_status_name(C.atomkv_contains(users, "user:nobody", 11))))
    for key, found in scan(users, "user:") do
        print(("scan: %s = %s"):format(key, found))
    end

    put(accounts, "balance", "100")
    transact(db, function(txn, attempt)
        check(C.atomkv_txn_get_owned(txn, accounts, "balance", 7, owned))
        local changed = ("%d"):format(tonumber(take()) + 5)
        -- Somebody else gets in between, so that there is a conflict to be seen.
        if attempt == 1 then put(accounts, "balance", "110") end
        check(C.atomkv_txn_put(txn, accounts, "balance", 7, changed, #changed, nil))
    end)
    print("balance: " .. get_owned(accounts, "balance"))

    local good, problem = pcall(open, directory)
    assert(not good, "a directory is open once")
    print(("error: %s (%d)"):format(problem.name, problem.status))
    print("message: " .. problem.message)
    print("path: " .. problem.path)

    release(users, C.atomkv_table_free)
    release(accounts, C.atomkv_table_free)
    -- Freeing closes too, but only closing can say that the last sync failed.
    local err = ffi.new("atomkv_error *[1]")
    check(C.atomkv_close(db, err), err[0])
    release(db, C.atomkv_db_free)
    print("closed")
end

if #arg ~= 1 then
    io.stderr:write("usage: luajit tour.lua DIRECTORY\n")
    os.exit(2)
end
local good, problem = pcall(main, arg[1])
if not good then
    io.stderr:write(tostring(problem) .. "\n")
    os.exit(1)
end
