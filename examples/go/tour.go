// A tour of AtomKV through cgo: put, get, scan, a transaction, an error. usage: tour DIRECTORY
//
// The idiom: defer frees each handle when its function returns. Where a handle is kept in a struct, runtime.SetFinalizer
// is the net below; it runs in any order and on another thread, which the library allows: a table, an iterator or a
// transaction keeps its database alive.
//
// Two rules of cgo shape the code. Memory of Go's that is passed to C must hold no pointers to Go's memory: keys and values
// are passed as pointer and length, which is always allowed. And a goroutine may move to another thread between two
// calls, where atomkv_last_error would tell of another call: so call locks the thread from the call to the message.
//
// cgo links the library when the program is built; LD_LIBRARY_PATH, or a link to the path in ATOMKV_LIBRARY, tells where
// it is at run time.
package main

// #cgo LDFLAGS: -latomkv
// #include <stdlib.h>
// #include <atomkv.h>
import "C"

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"
)

// Error is a negative status. Path and Table are empty where the error concerns none.
type Error struct {
	Status        int
	Name, Message string
	Path, Table   string
}

func (e *Error) Error() string { return e.Name + ": " + e.Message }

var errNotFound = errors.New("not found")

func name(status C.atomkv_status) string { return C.GoString(C.atomkv_status_name(C.int32_t(status))) }

// check turns the error object that came with a status into an error, and frees it.
func check(status C.atomkv_status, object *C.atomkv_error) error {
	if status >= 0 {
		return nil
	}
	defer C.atomkv_error_free(object)
	failure := &Error{Status: int(status), Name: name(status)}
	if object != nil {
		failure.Message = C.GoString(C.atomkv_error_message(object))
		// GoString makes an empty string of NULL.
		failure.Path = C.GoString(C.atomkv_error_path(object))
		failure.Table = C.GoString(C.atomkv_error_table(object))
	}
	return failure
}

// call makes a call that has no error object, and reads the message of its thread before the goroutine can move.
func call(function func() C.atomkv_status) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	status := function()
	if status == C.ATOMKV_NOT_FOUND {
		return errNotFound
	}
	if status < 0 {
		return &Error{Status: int(status), Name: name(status), Message: C.GoString(C.atomkv_last_error())}
	}
	return nil
}

// bytes is the pointer to a slice's bytes; of an empty one, which has none, it is nil.
func bytes(b []byte) (unsafe.Pointer, C.size_t) {
	if len(b) == 0 {
		return nil, 0
	}
	return unsafe.Pointer(&b[0]), C.size_t(len(b))
}

func open(directory string) (*C.atomkv_db, error) {
	path := C.CString(directory)
	defer C.free(unsafe.Pointer(path))
	var db *C.atomkv_db
	var object *C.atomkv_error
	status := C.atomkv_open(path, nil, &db, &object)
	return db, check(status, object)
}

func openTable(db *C.atomkv_db, tableName string, ordered C.int) (*C.atomkv_table, error) {
	text := C.CString(tableName)
	defer C.free(unsafe.Pointer(text))
	options := C.atomkv_table_options_new()
	defer C.atomkv_table_options_free(options)
	if err := call(func() C.atomkv_status { return C.atomkv_table_options_set_ordered(options, ordered) }); err != nil {
		return nil, err
	}
	var table *C.atomkv_table
	var object *C.atomkv_error
	status := C.atomkv_table_open(db, text, options, &table, &object)
	return table, check(status, object)
}

func put(table *C.atomkv_table, key, value string) error {
	k, kSize := bytes([]byte(key))
	v, vSize := bytes([]byte(value))
	return call(func() C.atomkv_status { return C.atomkv_put(table, k, kSize, v, vSize, nil) })
}

// get is the first way to read: into a buffer of ours.
func get(table *C.atomkv_table, key string) ([]byte, error) {
	k, kSize := bytes([]byte(key))
	buffer := make([]byte, 64)
	var size C.size_t
	err := call(func() C.atomkv_status {
		return C.atomkv_get(table, k, kSize, unsafe.Pointer(&buffer[0]), C.size_t(len(buffer)), &size)
	})
	if err != nil {
		return nil, err
	}
	return buffer[:size], nil
}

// take copies what the library has allocated, and gives it back.
func take(value *C.atomkv_buffer) []byte {
	defer C.atomkv_free(value.data)
	return C.GoBytes(value.data, C.int(value.size))
}

// getOwned is the second way: into memory of the library's. Good for values of any size.
func getOwned(table *C.atomkv_table, key string) ([]byte, error) {
	k, kSize := bytes([]byte(key))
	var value C.atomkv_buffer
	if err := call(func() C.atomkv_status { return C.atomkv_get_owned(table, k, kSize, &value) }); err != nil {
		return nil, err
	}
	return take(&value), nil
}

// scan calls visit with copies of each key and value.
func scan(table *C.atomkv_table, prefix string, visit func(key, value []byte)) error {
	options := C.atomkv_scan_options_new()
	defer C.atomkv_scan_options_free(options)
	p, pSize := bytes([]byte(prefix))
	if err := call(func() C.atomkv_status { return C.atomkv_scan_options_set_prefix(options, p, pSize) }); err != nil {
		return err
	}
	var iter *C.atomkv_iter
	if err := call(func() C.atomkv_status { return C.atomkv_iter_new(table, options, &iter) }); err != nil {
		return err
	}
	defer C.atomkv_iter_free(iter)
	for {
		var key, value C.atomkv_slice
		var status C.atomkv_status
		err := call(func() C.atomkv_status { status = C.atomkv_iter_next(iter, &key, &value, nil); return status })
		if err != nil || status == C.ATOMKV_DONE {
			return err
		}
		visit(C.GoBytes(key.data, C.int(key.size)), C.GoBytes(value.data, C.int(value.size)))
	}
}

// attemptDeposit is one transaction. When it fails, nothing of it has happened.
func attemptDeposit(db *C.atomkv_db, accounts *C.atomkv_table, amount, attempt int) error {
	var txn *C.atomkv_txn
	var object *C.atomkv_error
	status := C.atomkv_txn_begin(db, &txn, &object)
	if err := check(status, object); err != nil {
		return err
	}
	defer C.atomkv_txn_free(txn)
	k, kSize := bytes([]byte("balance"))
	var value C.atomkv_buffer
	if err := call(func() C.atomkv_status { return C.atomkv_txn_get_owned(txn, accounts, k, kSize, &value) }); err != nil {
		return err
	}
	balance, err := strconv.Atoi(string(take(&value)))
	if err != nil {
		return err
	}
	// Somebody else gets in between, so that there is a conflict to be seen.
	if attempt == 1 {
		if err := put(accounts, "balance", "110"); err != nil {
			return err
		}
	}
	v, vSize := bytes([]byte(strconv.Itoa(balance + amount)))
	if err := call(func() C.atomkv_status { return C.atomkv_txn_put(txn, accounts, k, kSize, v, vSize, nil) }); err != nil {
		return err
	}
	status = C.atomkv_txn_commit(txn, C.ATOMKV_DURABILITY_BUFFERED, nil, &object)
	return check(status, object)
}

// deposit does it anew, from the reading on, while somebody else has changed what it has read.
func deposit(db *C.atomkv_db, accounts *C.atomkv_table, amount int) error {
	for attempt := 1; ; attempt++ {
		err := attemptDeposit(db, accounts, amount, attempt)
		var failure *Error
		if errors.As(err, &failure) && failure.Status == C.ATOMKV_ERR_CONFLICT {
			fmt.Printf("attempt %d: %s in table %s\n", attempt, failure.Name, failure.Table)
			continue
		}
		if err == nil {
			fmt.Printf("attempt %d: %s\n", attempt, name(C.ATOMKV_OK))
		}
		return err
	}
}

func tour(directory string) error {
	fmt.Println("ABI:", C.atomkv_abi_version())
	db, err := open(directory)
	if err != nil {
		return err
	}
	defer C.atomkv_db_free(db)
	// Only an ordered table is scanned in the order of its keys, and by a prefix without looking at all of them.
	users, err := openTable(db, "users", 1)
	if err != nil {
		return err
	}
	defer C.atomkv_table_free(users)
	accounts, err := openTable(db, "accounts", 0)
	if err != nil {
		return err
	}
	defer C.atomkv_table_free(accounts)

	for _, pair := range [][2]string{{"user:alan", "logician"}, {"user:ada", "countess"}, {"user:grace", "admiral"}, {"group:all", "3"}} {
		if err := put(users, pair[0], pair[1]); err != nil {
			return err
		}
	}
	value, err := get(users, "user:ada")
	if err != nil {
		return err
	}
	fmt.Printf("get: %s (%d bytes)\n", value, len(value))
	if value, err = getOwned(users, "user:alan"); err != nil {
		return err
	}
	fmt.Printf("owned: %s\n", value)
	if _, err = get(users, "user:nobody"); err == errNotFound {
		fmt.Println("missing:", name(C.ATOMKV_NOT_FOUND))
	}
	if err := scan(users, "user:", func(key, value []byte) { fmt.Printf("scan: %s = %s\n", key, value) }); err != nil {
		return err
	}

	if err := put(accounts, "balance", "100"); err != nil {
		return err
	}
	if err := deposit(db, accounts, 5); err != nil {
		return err
	}
	if value, err = getOwned(accounts, "balance"); err != nil {
		return err
	}
	fmt.Printf("balance: %s\n", value)

	_, err = open(directory)
	var failure *Error
	if !errors.As(err, &failure) {
		return errors.New("a directory is open once")
	}
	fmt.Printf("error: %s (%d)\nmessage: %s\npath: %s\n", failure.Name, failure.Status, failure.Message, failure.Path)

	// Freeing closes too, but only closing can say that the last sync failed.
	var object *C.atomkv_error
	status := C.atomkv_close(db, &object)
	if err := check(status, object); err != nil {
		return err
	}
	fmt.Println("closed")
	return nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: tour DIRECTORY")
		os.Exit(2)
	}
	if err := tour(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
