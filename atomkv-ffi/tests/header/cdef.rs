//! The header for the foreign-function libraries that read C declarations (LuaJIT, PHP's FFI, Python's cffi): without
//! macros and directives, and without comments but for the first line. Constants are members of enumerations, which all
//! of them know; those are numbers of 32 bits there, so a constant that is none is left out.

use crate::model::{Header, Item};

/// The text of `include/atomkv.cdef`.
pub fn text(header: &Header) -> String {
    let mut out =
        "/* AtomKV's C interface for foreign-function libraries. Generated from atomkv.h; do not edit. */\n"
            .to_string();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push_str(";\n");
    };
    for item in &header.items {
        match item {
            Item::Constant(constant) => {
                if constant.value.parse::<i64>().is_ok_and(fits) {
                    line(format!("enum {{ {} = {} }}", constant.name, constant.value));
                }
            }
            Item::Enumeration(of) => {
                let values: Vec<String> =
                    of.values.iter().map(|value| format!("    {} = {}", value.name, value.value)).collect();
                line(format!("enum {} {{\n{}\n}}", of.name, values.join(",\n")));
                line(format!("typedef {} {}", of.c_type, of.name));
            }
            Item::Opaque(opaque) => line(format!("typedef struct {0} {0}", opaque.name)),
            Item::Structure(of) => {
                let fields: String = of
                    .fields
                    .iter()
                    .map(|field| format!("    {};\n", field.c_type.declare(&field.name)))
                    .collect();
                line(format!("typedef struct {{\n{fields}}} {}", of.name));
            }
            Item::Alias(alias) => line(format!("typedef {}", alias.c_type.declare(&alias.name))),
            Item::Callback(callback) => line(format!("typedef {}", callback.pointer())),
            Item::Function(function) => line(function.declaration()),
        }
    }
    out
}

fn fits(value: i64) -> bool {
    i32::try_from(value).is_ok() || u32::try_from(value).is_ok()
}
