//! Versions of the library and of its ABI.

use std::ffi::c_char;

/// The version of this header: `MAJOR.MINOR.PATCH`.
pub const ATOMKV_VERSION_MAJOR: u32 = 0;
/// See `ATOMKV_VERSION_MAJOR`.
pub const ATOMKV_VERSION_MINOR: u32 = 1;
/// See `ATOMKV_VERSION_MAJOR`.
pub const ATOMKV_VERSION_PATCH: u32 = 0;
/// The ABI that this header describes; the number in `libatomkv.so.0`.
pub const ATOMKV_ABI_VERSION: u32 = 0;

/// The version of the library that is loaded, such as "0.1.0". The text lives for ever. Any thread. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The ABI of the library that is loaded. A program works with it if the number is `ATOMKV_ABI_VERSION`. Any
/// thread. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_abi_version() -> u32 {
    ATOMKV_ABI_VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_the_version_of_the_package() {
        let numbers = [ATOMKV_VERSION_MAJOR, ATOMKV_VERSION_MINOR, ATOMKV_VERSION_PATCH];
        assert_eq!(numbers.map(|number| number.to_string()).join("."), env!("CARGO_PKG_VERSION"));
    }
}
