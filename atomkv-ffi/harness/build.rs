//! Reads the committed header back, as a program that wraps libatomkv would.

use std::path::Path;

fn main() {
    let header = "../../include/atomkv.h";
    println!("cargo:rerun-if-changed={header}");
    let bindings = bindgen::Builder::default()
        .header(header)
        .allowlist_item("(atomkv|ATOMKV)_.*")
        .dynamic_library_name("Library")
        // Loading fails if a function of the header is not exported.
        .dynamic_link_require_all(true)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .wrap_unsafe_ops(true)
        .layout_tests(true)
        .generate()
        .expect("bindgen reads the header");
    let out = std::env::var("OUT_DIR").expect("set by cargo");
    bindings.write_to_file(Path::new(&out).join("bindings.rs")).expect("written");
}
