//! The header and the built library fit each other: all functions are found in it, and they do what the header says.
//! ATOMKV_LIBRARY tells the path of the library.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;

use atomkv_harness::*;

/// Opens the library; each function of the header is looked up, or this fails.
fn library() -> Library {
    let path = std::env::var_os("ATOMKV_LIBRARY").expect("ATOMKV_LIBRARY is the path of libatomkv.so");
    // SAFETY: the library may be loaded at any time, and is never unloaded (it is linked so).
    unsafe { Library::new(path) }.expect("a library with each function of the header")
}

fn text(pointer: *const c_char) -> String {
    assert!(!pointer.is_null());
    // SAFETY: the library's texts end with NUL and live long enough.
    unsafe { CStr::from_ptr(pointer) }.to_str().expect("UTF-8").to_string()
}

#[test]
fn the_functions_of_the_header_are_the_listed_ones() {
    library();
    let mut found: Vec<&str> = BINDINGS
        .split("pub unsafe fn ")
        .skip(1)
        .filter_map(|rest| rest.split('(').next())
        .map(|name| name.split('<').next().unwrap_or(name))
        .filter(|name| name.starts_with("atomkv_"))
        .collect();
    found.sort_unstable();
    // What scripts/test-c.sh compares with the names that the library exports.
    let listed: Vec<&str> = include_str!("../../symbols.txt").lines().collect();
    assert_eq!(found, listed);
}

#[test]
fn the_versions_are_those_of_the_header() {
    let library = library();
    // SAFETY: the functions take nothing.
    let (version, abi) = unsafe { (library.atomkv_version(), library.atomkv_abi_version()) };
    let header = [ATOMKV_VERSION_MAJOR, ATOMKV_VERSION_MINOR, ATOMKV_VERSION_PATCH];
    assert_eq!(text(version), header.map(|number| number.to_string()).join("."));
    assert_eq!(abi, ATOMKV_ABI_VERSION);
}

#[test]
fn a_database_is_opened_filled_read_and_closed() {
    let library = library();
    let directory = tempfile::tempdir().expect("a directory");
    let path = CString::new(directory.path().join("data").to_str().expect("UTF-8")).expect("no NUL");
    let (mut db, mut table, mut iter) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    let mut error = ptr::null_mut();
    // SAFETY: every pointer lives as long as the header asks for.
    unsafe {
        assert_eq!(
            library.atomkv_open(path.as_ptr(), ptr::null(), &mut db, &mut error),
            atomkv_status_ATOMKV_OK
        );
        assert!(error.is_null());
        assert_eq!(
            library.atomkv_table_open(db, c"users".as_ptr(), ptr::null(), &mut table, &mut error),
            atomkv_status_ATOMKV_OK
        );
        let mut written = atomkv_written { version: 0, sequence: 0 };
        for number in 0..100_u32 {
            let key = number.to_be_bytes();
            let value = number.to_string();
            let status = library.atomkv_put(
                table,
                key.as_ptr().cast(),
                key.len(),
                value.as_ptr().cast(),
                value.len(),
                &mut written,
            );
            assert_eq!((status, written.version), (atomkv_status_ATOMKV_OK, 1));
        }
        let mut buffer = [0_u8; 16];
        let mut size = 0;
        let key = 42_u32.to_be_bytes();
        let room = buffer.as_mut_ptr().cast::<c_void>();
        let status = library.atomkv_get(table, key.as_ptr().cast(), key.len(), room, buffer.len(), &mut size);
        assert_eq!((status, &buffer[..size]), (atomkv_status_ATOMKV_OK, &b"42"[..]));

        assert_eq!(library.atomkv_iter_new(table, ptr::null(), &mut iter), atomkv_status_ATOMKV_OK);
        let empty = atomkv_slice { data: ptr::null(), size: 0 };
        let (mut key, mut value) = (empty, empty);
        let mut sum = 0;
        while library.atomkv_iter_next(iter, &mut key, &mut value, &mut written) == atomkv_status_ATOMKV_OK {
            let key = std::slice::from_raw_parts(key.data.cast::<u8>(), key.size);
            let value = std::slice::from_raw_parts(value.data.cast::<u8>(), value.size);
            let number = u32::from_be_bytes(key.try_into().expect("four bytes"));
            assert_eq!(value, number.to_string().as_bytes());
            sum += number;
        }
        assert_eq!(sum, 99 * 100 / 2);

        assert_eq!(library.atomkv_close(db, &mut error), atomkv_status_ATOMKV_OK);
        let status = library.atomkv_get(table, b"x".as_ptr().cast(), 1, ptr::null_mut(), 0, &mut size);
        assert_eq!(status, atomkv_status_ATOMKV_ERR_CLOSED);
        assert_eq!(text(library.atomkv_status_name(status)), "ATOMKV_ERR_CLOSED");
        library.atomkv_db_free(db);
        library.atomkv_iter_free(iter);
        library.atomkv_table_free(table);
    }
}

#[test]
fn an_error_is_told_in_full() {
    let library = library();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "no database").expect("written");
    let path = CString::new(file.to_str().expect("UTF-8")).expect("no NUL");
    let (mut db, mut error) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: every pointer lives as long as the header asks for.
    unsafe {
        let status = library.atomkv_open(path.as_ptr(), ptr::null(), &mut db, &mut error);
        assert!(status < 0 && db.is_null() && !error.is_null());
        assert_eq!(library.atomkv_error_status(error), status);
        assert!(text(library.atomkv_error_path(error)).starts_with(path.to_str().expect("UTF-8")));
        assert!(!text(library.atomkv_error_message(error)).is_empty());
        library.atomkv_error_free(error);
    }
}
