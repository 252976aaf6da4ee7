# A tour of AtomKV through Ruby's fiddle: put, get, scan, a transaction, an error. usage: ruby tour.rb DIRECTORY
#
# The idiom: methods that open something take a block and free it when the block ends, as File.open does. Fiddle could
# also leave that to the collector (Fiddle::Pointer.new(address, size, free)); it goes in any order, which the library
# allows, since a table, an iterator or a transaction keeps its database alive. But nobody knows when.
#
# A call through fiddle costs about a microsecond, so scans take many keys at a time.

require "fiddle"
require "fiddle/import"

module AtomKV
  module C
    extend Fiddle::Importer
    dlload ENV.fetch("ATOMKV_LIBRARY", "libatomkv.so.0")
    typealias "int32_t", "int"
    typealias "uint32_t", "unsigned int"

    extern "uint32_t atomkv_abi_version()"
    extern "char *atomkv_status_name(int32_t)"
    extern "char *atomkv_last_error()"
    extern "int32_t atomkv_error_status(void *)"
    extern "char *atomkv_error_message(void *)"
    extern "char *atomkv_error_path(void *)"
    extern "char *atomkv_error_table(void *)"
    extern "void atomkv_error_free(void *)"
    extern "int32_t atomkv_open(char *, void *, void *, void *)"
    extern "int32_t atomkv_close(void *, void *)"
    extern "void atomkv_db_free(void *)"
    extern "void *atomkv_table_options_new()"
    extern "int32_t atomkv_table_options_set_ordered(void *, int)"
    extern "void atomkv_table_options_free(void *)"
    extern "int32_t atomkv_table_open(void *, char *, void *, void *, void *)"
    extern "void atomkv_table_free(void *)"
    extern "int32_t atomkv_put(void *, void *, size_t, void *, size_t, void *)"
    extern "int32_t atomkv_get(void *, void *, size_t, void *, size_t, void *)"
    extern "int32_t atomkv_get_owned(void *, void *, size_t, void *)"
    extern "int32_t atomkv_contains(void *, void *, size_t)"
    extern "void atomkv_free(void *)"
    extern "void *atomkv_scan_options_new()"
    extern "int32_t atomkv_scan_options_set_prefix(void *, void *, size_t)"
    extern "void atomkv_scan_options_free(void *)"
    extern "int32_t atomkv_iter_new(void *, void *, void *)"
    extern "int32_t atomkv_iter_next_many(void *, void *, size_t, size_t, void *, void *, void *, void *)"
    extern "void atomkv_iter_free(void *)"
    extern "void *atomkv_arena_new()"
    extern "void atomkv_arena_free(void *)"
    extern "int32_t atomkv_txn_begin(void *, void *, void *)"
    extern "int32_t atomkv_txn_get_owned(void *, void *, void *, size_t, void *)"
    extern "int32_t atomkv_txn_put(void *, void *, void *, size_t, void *, size_t, void *)"
    extern "int32_t atomkv_txn_commit(void *, int32_t, void *, void *)"
    extern "void atomkv_txn_free(void *)"
  end

  OK = 0
  NOT_FOUND = 1
  DONE = 2
  ERR_CONFLICT = -22
  DURABILITY_BUFFERED = 1
  POINTER_BYTES = Fiddle::SIZEOF_VOIDP
  SLICE_BYTES = 2 * POINTER_BYTES # a pointer and a size

  # A negative status. `path` and `table` are nil where the error concerns none.
  class Error < StandardError
    attr_reader :status, :path, :table

    def initialize(status, message, path = nil, table = nil)
      super(message)
      @status, @path, @table = status, path, table
    end

    def name = AtomKV.status_name(status)
  end

  module_function

  def status_name(status) = C.atomkv_status_name(status).to_s

  def text(pointer) = pointer.null? ? nil : pointer.to_s

  # Room for a pointer or a number that a function stores.
  def place(bytes = POINTER_BYTES)
    room = Fiddle::Pointer.malloc(bytes, Fiddle::RUBY_FREE)
    room[0, bytes] = "\0" * bytes
    room
  end

  # Gives a status that is no error back, and raises the others. `error`: nil, or where the error object is.
  def check(status, error = nil)
    return status if status >= 0

    # Without an object: the message of this thread's last error, which is to be read before any other call.
    raise Error.new(status, C.atomkv_last_error.to_s) if error.nil? || error.ptr.null?

    begin
      raise Error.new(status, C.atomkv_error_message(error.ptr).to_s, text(C.atomkv_error_path(error.ptr)),
                      text(C.atomkv_error_table(error.ptr)))
    ensure
      C.atomkv_error_free(error.ptr)
    end
  end

  # Gives a handle to the block and frees it afterwards, whatever happens.
  def using(handle, free)
    yield handle
  ensure
    C.send(free, handle)
  end

  # The bytes of an atomkv_buffer or atomkv_slice at a place, as a string of Ruby's own.
  def bytes(slice, at = 0)
    address, size = slice[at * SLICE_BYTES, SLICE_BYTES].unpack("JJ")
    size.zero? ? "".b : Fiddle::Pointer.new(address)[0, size]
  end

  # As `bytes`, of a buffer that is ours to free.
  def take(buffer)
    bytes(buffer)
  ensure
    C.atomkv_free(buffer.ptr)
  end

  def open(directory, &block)
    db, error = place, place
    check(C.atomkv_open(directory, nil, db, error), error)
    using(db.ptr, :atomkv_db_free, &block)
  end

  # Freeing closes too, but only closing can say that the last sync failed.
  def close(db)
    error = place
    check(C.atomkv_close(db, error), error)
  end

  def open_table(db, name, ordered: false, &block)
    table, error = place, place
    using(C.atomkv_table_options_new, :atomkv_table_options_free) do |options|
      check(C.atomkv_table_options_set_ordered(options, ordered ? 1 : 0))
      check(C.atomkv_table_open(db, name, options, table, error), error)
    end
    using(table.ptr, :atomkv_table_free, &block)
  end

  def put(table, key, value)
    check(C.atomkv_put(table, key, key.bytesize, value, value.bytesize, nil))
  end

  # First way to read: into a buffer of ours.
  def get(table, key)
    buffer, size = place(64), place
    return nil if check(C.atomkv_get(table, key, key.bytesize, buffer, buffer.size, size)) == NOT_FOUND

    buffer[0, size[0, POINTER_BYTES].unpack1("J")]
  end

  # Second way: into memory of the library's, copied and given back at once. Good for values of any size.
  def get_owned(table, key)
    value = place(SLICE_BYTES)
    return nil if check(C.atomkv_get_owned(table, key, key.bytesize, value)) == NOT_FOUND

    take(value)
  end

  # Gives each key and value to the block.
  def scan(table, prefix, page = 256)
    iter, found = place, place
    using(C.atomkv_scan_options_new, :atomkv_scan_options_free) do |options|
      check(C.atomkv_scan_options_set_prefix(options, prefix, prefix.bytesize))
      check(C.atomkv_iter_new(table, options, iter))
    end
    using(iter.ptr, :atomkv_iter_free) do |rows|
      using(C.atomkv_arena_new, :atomkv_arena_free) do |arena|
        keys, values = place(page * SLICE_BYTES), place(page * SLICE_BYTES)
        while check(C.atomkv_iter_next_many(rows, arena, page, 0, keys, values, nil, found)) != DONE
          # Copies: the arena is filled anew by the next call.
          found[0, POINTER_BYTES].unpack1("J").times { |at| yield bytes(keys, at), bytes(values, at) }
        end
      end
    end
  end

  # Runs the block with a transaction and commits, again from the beginning while somebody else has changed what it has
  # read.
  def transact(db)
    (1..).each do |attempt|
      txn, error = place, place
      check(C.atomkv_txn_begin(db, txn, error), error)
      using(txn.ptr, :atomkv_txn_free) do |begun|
        yield begun, attempt
        check(C.atomkv_txn_commit(begun, DURABILITY_BUFFERED, nil, error), error)
      end
      puts "attempt #{attempt}: #{status_name(OK)}"
      return
    rescue Error => e
      raise unless e.status == ERR_CONFLICT

      puts "attempt #{attempt}: #{e.name} in table #{e.table}"
    end
  end
end

def main(directory)
  puts "ABI: #{AtomKV::C.atomkv_abi_version}"
  AtomKV.open(directory) do |db|
    # Only an ordered table is scanned in the order of its keys, and by a prefix without looking at all of them.
    AtomKV.open_table(db, "users", ordered: true) do |users|
      AtomKV.put(users, "user:alan", "logician")
      AtomKV.put(users, "user:ada", "countess")
      AtomKV.put(users, "user:grace", "admiral")
      AtomKV.put(users, "group:all", "3")
      value = AtomKV.get(users, "user:ada")
      puts "get: #{value} (#{value.bytesize} bytes)"
      puts "owned: #{AtomKV.get_owned(users, 'user:alan')}"
      puts "missing: #{AtomKV.status_name(AtomKV::C.atomkv_contains(users, 'user:nobody', 11))}"
      AtomKV.scan(users, "user:") { |key, found| puts "scan: #{key} = #{found}" }
    end
    AtomKV.open_table(db, "accounts") do |accounts|
      AtomKV.put(accounts, "balance", "100")
      AtomKV.transact(db) do |txn, attempt|
        value = AtomKV.place(AtomKV::SLICE_BYTES)
        AtomKV.check(AtomKV::C.atomkv_txn_get_owned(txn, accounts, "balance", 7, value))
        changed = (AtomKV.take(value).to_i + 5).to_s
        # Somebody else gets in between, so that there is a conflict to be seen.
        AtomKV.put(accounts, "balance", "110") if attempt == 1
        AtomKV.check(AtomKV::C.atomkv_txn_put(txn, accounts, "balance", 7, changed, changed.bytesize, nil))
      end
      puts "balance: #{AtomKV.get_owned(accounts, 'balance')}"
    end
    begin
      AtomKV.open(directory) { raise "a directory is open once" }
    rescue AtomKV::Error => e
      puts "error: #{e.name} (#{e.status})", "message: #{e.message}", "path: #{e.path}"
    end
    AtomKV.close(db)
    puts "closed"
  end
end

abort "usage: ruby tour.rb DIRECTORY" if ARGV.size != 1
begin
  main(ARGV[0])
rescue AtomKV::Error => e
  abort "#{e.name}: #{e.message}"
end
