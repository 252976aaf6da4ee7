#!/usr/bin/perl
# A tour of AtomKV through Perl's FFI::Platypus: put, get, scan, a transaction, an error. usage: perl tour.pl DIRECTORY
#
# The idiom: an object owns each handle, and DESTROY frees it when the last reference goes, at a known moment since Perl
# counts references. When the program ends the order is not defined, which the library allows: a table, an iterator or a
# transaction keeps its database alive.
#
# Platypus passes a pointer as a number (opaque), a place for a result as a reference (opaque*, size_t*), and bytes that
# may hold NULs as a buffer: scalar_to_buffer gives their address and size. A buffer or slice of the library's, a pointer
# and a size, is an array of two numbers.

use strict;
use warnings;
use FFI::Platypus 2.00;
use FFI::Platypus::Buffer qw(scalar_to_buffer buffer_to_scalar);

use constant {
    OK => 0, NOT_FOUND => 1, DONE => 2, CONFLICT => -22, DURABILITY_BUFFERED => 1,
    PAGE => 256,
};

my $ffi = FFI::Platypus->new(api => 2, lib => $ENV{ATOMKV_LIBRARY} // 'libatomkv.so.0');
sub declare {
    my ($result, %functions) = @_;
    $ffi->attach("atomkv_$_" => $functions{$_} => $result) for keys %functions;
    return;
}

my @bytes = ('opaque', 'size_t');
declare('uint32', abi_version => []);
declare('string', status_name => ['sint32'], last_error => [], map { ("error_$_" => ['opaque']) } qw(message path table));
declare('opaque', map { ($_ => []) } qw(table_options_new scan_options_new arena_new));
declare('void', map { ($_ => ['opaque']) }
    qw(error_free db_free table_free table_options_free scan_options_free iter_free arena_free txn_free free));
declare('sint32',
    open => ['string', 'opaque', 'opaque*', 'opaque*'],
    close => ['opaque', 'opaque*'],
    table_options_set_ordered => ['opaque', 'int'],
    table_open => ['opaque', 'string', 'opaque', 'opaque*', 'opaque*'],
    put => ['opaque', @bytes, @bytes, 'opaque'],
    get => ['opaque', @bytes, @bytes, 'size_t*'],
    get_owned => ['opaque', @bytes, 'size_t[2]'],
    contains => ['opaque', @bytes],
    scan_options_set_prefix => ['opaque', @bytes],
    iter_new => ['opaque', 'opaque', 'opaque*'],
    iter_next_many => ['opaque', 'opaque', 'size_t', 'size_t', 'size_t[512]', 'size_t[512]', 'opaque', 'size_t*'],
    txn_begin => ['opaque', 'opaque*', 'opaque*'],
    txn_get_owned => ['opaque', 'opaque', @bytes, 'size_t[2]'],
    txn_put => ['opaque', 'opaque', @bytes, @bytes, 'opaque'],
    txn_commit => ['opaque', 'sint32', 'opaque', 'opaque*'],
);

# A negative status as an exception object; path and table are undef where the error concerns none.
package AtomKV::Error {
    use overload '""' => sub { "$_[0]{name}: $_[0]{message}\n" }, fallback => 1;
}

# Owns a pointer and frees it once.
package AtomKV::Handle {
    sub new { my ($class, $pointer, $free) = @_; return bless { pointer => $pointer, free => $free }, $class }
    sub pointer { return $_[0]{pointer} }
    sub DESTROY { my ($self) = @_; $self->{free}->($self->{pointer}); return }
}

package main;

# Gives a status that is no error back, and throws the others. $object: undef, or the error object that came with it.
sub check {
    my ($status, $object) = @_;
    return $status if $status >= 0;
    # Without an object: the message of this thread's last error, to be read before any other call.
    my %error = (status => $status, message => $object ? atomkv_error_message($object) : atomkv_last_error());
    if ($object) {
        @error{qw(path table)} = (atomkv_error_path($object), atomkv_error_table($object));
        atomkv_error_free($object);
    }
    $error{name} = atomkv_status_name($status);
    die bless \%error, 'AtomKV::Error';
}

sub open_database {
    my ($directory) = @_;
    my ($db, $error);
    my $status = atomkv_open($directory, undef, \$db, \$error);
    check($status, $error);
    return AtomKV::Handle->new($db, \&atomkv_db_free);
}

sub open_table {
    my ($db, $name, $ordered) = @_;
    my $options = AtomKV::Handle->new(atomkv_table_options_new(), \&atomkv_table_options_free);
    check(atomkv_table_options_set_ordered($options->pointer, $ordered));
    my ($table, $error);
    my $status = atomkv_table_open($db->pointer, $name, $options->pointer, \$table, \$error);
    check($status, $error);
    return AtomKV::Handle->new($table, \&atomkv_table_free);
}

sub put {
    my ($table, $key, $value) = @_;
    check(atomkv_put($table->pointer, scalar_to_buffer($key), scalar_to_buffer($value), undef));
    return;
}

# First way to read: into a buffer of ours.
sub get {
    my ($table, $key) = @_;
    my $buffer = "\0" x 64;
    my $size = 0;
    my $status = atomkv_get($table->pointer, scalar_to_buffer($key), scalar_to_buffer($buffer), \$size);
    return if check($status) == NOT_FOUND;
    return substr $buffer, 0, $size;
}

# The bytes of an atomkv_buffer as a string of Perl's own; the buffer is freed.
sub take {
    my ($data, $size) = @_;
    my $copy = $size ? buffer_to_scalar($data, $size) : '';
    atomkv_free($data);
    return $copy;
}

# Second way: into memory of the library's, copied and given back at once. Good for values of any size.
sub get_owned {
    my ($table, $key) = @_;
    my @value = (0, 0);
    return if check(atomkv_get_owned($table->pointer, scalar_to_buffer($key), \@value)) == NOT_FOUND;
    return take(@value);
}

# Calls $visit with each key and value. A call through Platypus costs as much as several keys do, so it takes a page of
# them at a time; what comes of it is copied, for the arena is filled anew by the next call.
sub scan {
    my ($table, $prefix, $visit) = @_;
    my $options = AtomKV::Handle->new(atomkv_scan_options_new(), \&atomkv_scan_options_free);
    check(atomkv_scan_options_set_prefix($options->pointer, scalar_to_buffer($prefix)));
    my $iter;
    check(atomkv_iter_new($table->pointer, $options->pointer, \$iter));
    my $rows = AtomKV::Handle->new($iter, \&atomkv_iter_free);
    my $arena = AtomKV::Handle->new(atomkv_arena_new(), \&atomkv_arena_free);
    my @keys = (0) x (2 * PAGE);
    my @values = @keys;
    my $found = 0;
    while (check(atomkv_iter_next_many($rows->pointer, $arena->pointer, PAGE, 0, \@keys, \@values, undef, \$found)) != DONE) {
        for my $at (map { 2 * $_ } 0 .. $found - 1) {
            $visit->(map { $_->[$at + 1] ? buffer_to_scalar($_->[$at], $_->[$at + 1]) : '' } \@keys, \@values);
        }
    }
    return;
}

# One transaction, freed when this returns or dies. When it fails, nothing of it has happened.
sub deposit_once {
    my ($db, $accounts, $amount, $attempt) = @_;
    my ($begun, $error);
    my $status = atomkv_txn_begin($db->pointer, \$begun, \$error);
    check($status, $error);
    my $txn = AtomKV::Handle->new($begun, \&atomkv_txn_free);
    my $key = 'balance';
    my @value = (0, 0);
    check(atomkv_txn_get_owned($txn->pointer, $accounts->pointer, scalar_to_buffer($key), \@value));
    my $changed = '' . (take(@value) + $amount);
    # Somebody else gets in between, so that there is a conflict to be seen.
    put($accounts, $key, '110') if $attempt == 1;
    check(atomkv_txn_put($txn->pointer, $accounts->pointer, scalar_to_buffer($key), scalar_to_buffer($changed), undef));
    $status = atomkv_txn_commit($txn->pointer, DURABILITY_BUFFERED, undef, \$error);
    check($status, $error);
    return;
}

# Does it anew, from the reading on, while somebody else has changed what it has read.
sub deposit {
    my ($db, $accounts, $amount) = @_;
    for (my $attempt = 1;; $attempt++) {
        if (eval { deposit_once($db, $accounts, $amount, $attempt); 1 }) {
            print "attempt $attempt: ", atomkv_status_name(OK), "\n";
            return;
        }
        my $error = $@;
        die $error unless ref $error && $error->{status} == CONFLICT;
        print "attempt $attempt: $error->{name} in table $error->{table}\n";
    }
}

sub main {
    my ($directory) = @_;
    print 'ABI: ', atomkv_abi_version(), "\n";
    my $db = open_database($directory);
    # Only an ordered table is scanned in the order of its keys, and by a prefix without looking at all of them.
    my $users = open_table($db, 'users', 1);
    my $accounts = open_table($db, 'accounts', 0);

    put($users, 'user:alan', 'logician');
    put($users, 'user:ada', 'countess');
    put($users, 'user:grace', 'admiral');
    put($users, 'group:all', '3');
    my $value = get($users, 'user:ada');
    printf "get: %s (%d bytes)\n", $value, length $value;
    print 'owned: ', get_owned($users, 'user:alan'), "\n";
    my $nobody = 'user:nobody';
    print 'missing: ', atomkv_status_name(atomkv_contains($users->pointer, scalar_to_buffer($nobody))), "\n";
    scan($users, 'user:', sub { print "scan: $_[0] = $_[1]\n" });

    put($accounts, 'balance', '100');
    deposit($db, $accounts, 5);
    print 'balance: ', get_owned($accounts, 'balance'), "\n";

    die "a directory is open once\n" if eval { open_database($directory) };
    my $failure = $@;
    print "error: $failure->{name} ($failure->{status})\nmessage: $failure->{message}\npath: $failure->{path}\n";

    # Freeing closes too, but only closing can say that the last sync failed.
    my $error;
    my $status = atomkv_close($db->pointer, \$error);
    check($status, $error);
    print "closed\n";
    return;
}

die "usage: perl tour.pl DIRECTORY\n" if @ARGV != 1;
main($ARGV[0]);
