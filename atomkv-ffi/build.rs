//! Gives the shared library its name and keeps it loaded: it has threads, and handlers that the C library calls.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let unix = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if ["linux", "android", "freebsd", "netbsd", "openbsd", "dragonfly"].contains(&unix.as_str()) {
        // The number is that of the ABI: it changes when a program would have to be compiled again.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libatomkv.so.0");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
