<?php
/* A tour of AtomKV through PHP's FFI: put, get, scan, a transaction, an error. usage: php tour.php DIRECTORY
 *
 * The idiom: an object owns each handle and frees it in its destructor, which PHP calls when the last reference goes:
 * at a known moment, when a variable is unset or its function returns. unset() makes it earlier. At the end of a script
 * the order is not defined, which the library allows: a table, an iterator or a transaction keeps its database alive.
 *
 * The declarations come from atomkv.cdef, which is atomkv.h without macros and comments; ATOMKV_CDEF tells where it is.
 * PHP looks all of its functions up when it loads the library, so the file must not be newer than the library. Parsing
 * takes a few milliseconds; a web server does it once, by opcache.preload. The command line may use FFI as it is, a web
 * server needs ffi.enable or preloading.
 */

declare(strict_types=1);

function readCdef(): string
{
    $paths = [getenv('ATOMKV_CDEF') ?: __DIR__ . '/../../include/atomkv.cdef',
              '/usr/local/include/atomkv.cdef', '/usr/include/atomkv.cdef'];
    foreach ($paths as $path) {
        if (is_file($path)) {
            return file_get_contents($path);
        }
    }
    throw new RuntimeException('atomkv.cdef was not found; set ATOMKV_CDEF to its path');
}

/** The library, and what is the same for all calls. */
final class Lib
{
    public static FFI $c;

    public static function load(): void
    {
        self::$c = FFI::cdef(readCdef(), getenv('ATOMKV_LIBRARY') ?: 'libatomkv.so.0');
    }

    /** A place for a result, such as "atomkv_db *"; FFI::addr($place) is what the function gets. */
    public static function place(string $type): FFI\CData
    {
        return self::$c->new($type);
    }

    public static function name(int $status): string
    {
        return self::$c->atomkv_status_name($status);
    }

    /** Gives a status that is no error back, and throws the others. `$error`: the error object that came with it. */
    public static function check(int $status, ?FFI\CData $error = null): int
    {
        if ($status >= 0) {
            return $status;
        }
        if ($error === null || FFI::isNull($error)) {
            // The message of this thread's last error: read it before any other call.
            throw new AtomKVException($status, self::$c->atomkv_last_error());
        }
        try {
            throw new AtomKVException(
                $status,
                self::$c->atomkv_error_message($error),
                self::$c->atomkv_error_path($error),
                self::$c->atomkv_error_table($error)
            );
        } finally {
            self::$c->atomkv_error_free($error);
        }
    }

    /** The bytes of an atomkv_buffer, which is freed, or of an atomkv_slice, which belongs to the library. */
    public static function take(FFI\CData $buffer): string
    {
        $bytes = self::copy($buffer);
        self::$c->atomkv_free($buffer->data);
        return $bytes;
    }

    public static function copy(FFI\CData $slice): string
    {
        return $slice->size === 0 ? '' : FFI::string($slice->data, $slice->size);
    }
}

/** A negative status. The path and the table are null where the error concerns none. */
final class AtomKVException extends RuntimeException
{
    public readonly string $name;

    public function __construct(
        public readonly int $status,
        string $message,
        public readonly ?string $path = null,
        public readonly ?string $table = null
    ) {
        parent::__construct($message);
        $this->name = Lib::name($status);
    }
}

/** Owns a pointer and frees it once. */
final class Handle
{
    public function __construct(public readonly FFI\CData $pointer, private readonly string $free)
    {
    }

    public function __destruct()
    {
        Lib::$c->{$this->free}($this->pointer);
    }
}

function openDatabase(string $directory): Handle
{
    [$db, $error] = [Lib::place('atomkv_db *'), Lib::place('atomkv_error *')];
    Lib::check(Lib::$c->atomkv_open($directory, null, FFI::addr($db), FFI::addr($error)), $error);
    return new Handle($db, 'atomkv_db_free');
}

function openTable(Handle $db, string $name, bool $ordered): Handle
{
    $options = new Handle(Lib::$c->atomkv_table_options_new(), 'atomkv_table_options_free');
    Lib::check(Lib::$c->atomkv_table_options_set_ordered($options->pointer, (int) $ordered));
    [$table, $error] = [Lib::place('atomkv_table *'), Lib::place('atomkv_error *')];
    Lib::check(Lib::$c->atomkv_table_open($db->pointer, $name, $options->pointer, FFI::addr($table), FFI::addr($error)),
        $error);
    return new Handle($table, 'atomkv_table_free');
}

function put(Handle $table, string $key, string $value): void
{
    Lib::check(Lib::$c->atomkv_put($table->pointer, $key, strlen($key), $value, strlen($value), null));
}

/** First way to read: into a buffer of ours. */
function get(Handle $table, string $key): ?string
{
    [$buffer, $size] = [Lib::place('char[64]'), Lib::place('size_t')];
    $status = Lib::$c->atomkv_get($table->pointer, $key, strlen($key), $buffer, FFI::sizeof($buffer), FFI::addr($size));
    return Lib::check($status) === Lib::$c->ATOMKV_NOT_FOUND ? null : FFI::string($buffer, $size->cdata);
}

/** Second way: into memory of the library's, copied and given back at once. Good for values of any size. */
function getOwned(Handle $table, string $key): ?string
{
    $value = Lib::place('atomkv_buffer');
    $status = Lib::$c->atomkv_get_owned($table->pointer, $key, strlen($key), FFI::addr($value));
    return Lib::check($status) === Lib::$c->ATOMKV_NOT_FOUND ? null : Lib::take($value);
}

/** A generator. A call through FFI costs as much as several keys do, so it takes a page of them at a time. */
function scan(Handle $table, string $prefix, int $page = 256): Generator
{
    $options = new Handle(Lib::$c->atomkv_scan_options_new(), 'atomkv_scan_options_free');
    Lib::check(Lib::$c->atomkv_scan_options_set_prefix($options->pointer, $prefix, strlen($prefix)));
    $iter = Lib::place('atomkv_iter *');
    Lib::check(Lib::$c->atomkv_iter_new($table->pointer, $options->pointer, FFI::addr($iter)));
    $rows = new Handle($iter, 'atomkv_iter_free');
    $arena = new Handle(Lib::$c->atomkv_arena_new(), 'atomkv_arena_free');
    [$keys, $values, $found] = [Lib::place("atomkv_slice[$page]"), Lib::place("atomkv_slice[$page]"), Lib::place('size_t')];
    while (Lib::check(Lib::$c->atomkv_iter_next_many($rows->pointer, $arena->pointer, $page, 0, $keys, $values, null,
        FFI::addr($found))) !== Lib::$c->ATOMKV_DONE) {
        for ($at = 0; $at < $found->cdata; $at++) {
            // Not as a key of the generator alone: PHP would turn keys such as "12" into integers in an array.
            yield [Lib::copy($keys[$at]), Lib::copy($values[$at])];
        }
    }
}

/**
 * Adds to a balance. What was read may have changed by the time of the commit; then all of it is done anew, from the
 * reading on. The first time somebody else gets in between, so that there is a conflict to be seen.
 */
function deposit(Handle $db, Handle $accounts, int $amount): void
{
    for ($attempt = 1;; $attempt++) {
        [$begun, $error, $value] = [Lib::place('atomkv_txn *'), Lib::place('atomkv_error *'), Lib::place('atomkv_buffer')];
        Lib::check(Lib::$c->atomkv_txn_begin($db->pointer, FFI::addr($begun), FFI::addr($error)), $error);
        // Freed when the next round puts another in its place, or when the function returns or throws.
        $txn = new Handle($begun, 'atomkv_txn_free');
        Lib::check(Lib::$c->atomkv_txn_get_owned($txn->pointer, $accounts->pointer, 'balance', 7, FFI::addr($value)));
        $changed = (string) ((int) Lib::take($value) + $amount);
        if ($attempt === 1) {
            put($accounts, 'balance', '110');
        }
        Lib::check(Lib::$c->atomkv_txn_put($txn->pointer, $accounts->pointer, 'balance', 7, $changed, strlen($changed), null));
        try {
            Lib::check(Lib::$c->atomkv_txn_commit($txn->pointer, Lib::$c->ATOMKV_DURABILITY_BUFFERED, null,
                FFI::addr($error)), $error);
        } catch (AtomKVException $conflict) {
            if ($conflict->status !== Lib::$c->ATOMKV_ERR_CONFLICT) {
                throw $conflict;
            }
            echo "attempt $attempt: $conflict->name in table $conflict->table\n";
            continue;
        }
        echo "attempt $attempt: ", Lib::name(Lib::$c->ATOMKV_OK), "\n";
        return;
    }
}

function main(string $directory): void
{
    Lib::load();
    echo 'ABI: ', Lib::$c->atomkv_abi_version(), "\n";
    $db = openDatabase($directory);
    // Only an ordered table is scanned in the order of its keys, and by a prefix without looking at all of them.
    $users = openTable($db, 'users', true);
    $accounts = openTable($db, 'accounts', false);

    put($users, 'user:alan', 'logician');
    put($users, 'user:ada', 'countess');
    put($users, 'user:grace', 'admiral');
    put($users, 'group:all', '3');
    $value = get($users, 'user:ada');
    echo "get: $value (", strlen($value), " bytes)\n";
    echo 'owned: ', getOwned($users, 'user:alan'), "\n";
    echo 'missing: ', Lib::name(Lib::$c->atomkv_contains($users->pointer, 'user:nobody', 11)), "\n";
    foreach (scan($users, 'user:') as [$key, $value]) {
        echo "scan: $key = $value\n";
    }

    put($accounts, 'balance', '100');
    deposit($db, $accounts, 5);
    echo 'balance: ', getOwned($accounts, 'balance'), "\n";

    try {
        openDatabase($directory);
    } catch (AtomKVException $failure) {
        echo "error: $failure->name ($failure->status)\n";
        echo 'message: ', $failure->getMessage(), "\n";
        echo "path: $failure->path\n";
    }
    // Freeing closes too, but only closing can say that the last sync failed.
    $error = Lib::place('atomkv_error *');
    Lib::check(Lib::$c->atomkv_close($db->pointer, FFI::addr($error)), $error);
    echo "closed\n";
}

if ($argc !== 2) {
    fwrite(STDERR, "usage: php tour.php DIRECTORY\n");
    exit(2);
}
try {
    main($argv[1]);
} catch (AtomKVException $failure) {
    fwrite(STDERR, "$failure->name: {$failure->getMessage()}\n");
    exit(1);
}
