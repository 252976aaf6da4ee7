//! The header for programs that make bindings: `include/atomkv.json`. What the types alone do not say (which way a
//! parameter goes, whether it may be NULL, who owns what) is read out of the comments and the conventions at the head of
//! the header; where they do not tell, the field is left out.

use serde::Serialize;

use crate::model::{Function, Header, Item, Member, Type};
use crate::rules;

#[derive(Serialize)]
struct Description<'a> {
    library: &'static str,
    header: &'static str,
    version: String,
    soname: String,
    overview: &'a str,
    constants: Vec<ConstantEntry<'a>>,
    enums: Vec<EnumEntry<'a>>,
    opaque: Vec<OpaqueEntry<'a>>,
    structs: Vec<StructEntry<'a>>,
    aliases: Vec<FieldEntry<'a>>,
    callbacks: Vec<FunctionEntry<'a>>,
    functions: Vec<FunctionEntry<'a>>,
}

#[derive(Serialize)]
struct ConstantEntry<'a> {
    name: &'a str,
    value: &'a str,
    doc: &'a str,
}

/// Since which release an item is there, or that it may still change.
#[derive(Serialize)]
struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unstable: bool,
}

#[derive(Serialize)]
struct EnumEntry<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    c_type: &'a str,
    #[serde(flatten)]
    history: History,
    doc: &'a str,
    values: Vec<ValueEntry<'a>>,
}

#[derive(Serialize)]
struct ValueEntry<'a> {
    name: &'a str,
    value: i64,
    doc: &'a str,
}

#[derive(Serialize)]
struct OpaqueEntry<'a> {
    name: &'a str,
    #[serde(flatten)]
    history: History,
    #[serde(skip_serializing_if = "Option::is_none")]
    freed_with: Option<&'a str>,
    doc: &'a str,
}

#[derive(Serialize)]
struct StructEntry<'a> {
    name: &'a str,
    #[serde(flatten)]
    history: History,
    doc: &'a str,
    fields: Vec<FieldEntry<'a>>,
}

#[derive(Serialize)]
struct FieldEntry<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    c_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Signature>,
    doc: &'a str,
}

/// The type of a function that the caller writes.
#[derive(Serialize)]
struct Signature {
    result: String,
    parameters: Vec<Named>,
}

#[derive(Serialize)]
struct Named {
    name: String,
    #[serde(rename = "type")]
    c_type: String,
}

#[derive(Serialize)]
struct FunctionEntry<'a> {
    name: &'a str,
    #[serde(flatten)]
    history: History,
    doc: &'a str,
    result: ResultEntry<'a>,
    parameters: Vec<ParameterEntry<'a>>,
}

#[derive(Serialize)]
struct ResultEntry<'a> {
    #[serde(rename = "type")]
    c_type: &'a str,
    #[serde(flatten)]
    ownership: Ownership<'a>,
}

#[derive(Serialize)]
struct ParameterEntry<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    c_type: String,
    /// `in`, or `out` where the function writes through the pointer.
    direction: &'static str,
    /// For pointers: whether NULL is allowed, where that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    nullable: Option<bool>,
    #[serde(flatten)]
    ownership: Ownership<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Signature>,
}

/// `caller`: the caller gets it and gives it back with `freed_with`. `consumed`: the caller gives it up. `borrowed`: it
/// stays whose it was. `static`: it lives as long as the library.
#[derive(Default, Serialize)]
struct Ownership<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ownership: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    freed_with: Option<&'a str>,
}

/// The text of `include/atomkv.json`.
pub fn json(header: &Header) -> String {
    let number = |name: &str| header.constant(name).expect("a version").to_string();
    let version = ["MAJOR", "MINOR", "PATCH"].map(|part| number(&format!("ATOMKV_VERSION_{part}"))).join(".");
    let mut described = Description {
        library: "atomkv",
        header: "atomkv.h",
        version,
        soname: format!("libatomkv.so.{}", number("ATOMKV_ABI_VERSION")),
        overview: &header.overview,
        constants: Vec::new(),
        enums: Vec::new(),
        opaque: Vec::new(),
        structs: Vec::new(),
        aliases: Vec::new(),
        callbacks: Vec::new(),
        functions: Vec::new(),
    };
    for item in &header.items {
        let history = history(item.doc());
        match item {
            Item::Constant(of) => {
                described.constants.push(ConstantEntry { name: &of.name, value: &of.value, doc: &of.doc });
            }
            Item::Enumeration(of) => {
                let values = of
                    .values
                    .iter()
                    .map(|of| ValueEntry { name: &of.name, value: of.value, doc: &of.doc })
                    .collect();
                described.enums.push(EnumEntry {
                    name: &of.name,
                    c_type: &of.c_type,
                    history,
                    doc: &of.doc,
                    values,
                });
            }
            Item::Opaque(of) => {
                let freed_with = header.freed_with(&of.name);
                described.opaque.push(OpaqueEntry { name: &of.name, history, freed_with, doc: &of.doc });
            }
            Item::Structure(of) => {
                let fields = of.fields.iter().map(field).collect();
                described.structs.push(StructEntry { name: &of.name, history, doc: &of.doc, fields });
            }
            Item::Alias(of) => described.aliases.push(field(of)),
            Item::Callback(of) => described.callbacks.push(function(header, of, history, true)),
            Item::Function(of) => described.functions.push(function(header, of, history, false)),
        }
    }
    serde_json::to_string_pretty(&described).expect("JSON") + "\n"
}

fn history(doc: &str) -> History {
    History {
        since: rules::since(doc).map(|(major, minor)| format!("{major}.{minor}")),
        unstable: rules::is_unstable(doc),
    }
}

fn field(of: &Member) -> FieldEntry<'_> {
    FieldEntry { name: &of.name, c_type: of.c_type.text(), signature: signature(&of.c_type), doc: &of.doc }
}

fn signature(of: &Type) -> Option<Signature> {
    let Type::Pointer { result, parameters } = of else { return None };
    let named = |(name, of): &(String, Type)| Named { name: name.clone(), c_type: of.text() };
    Some(Signature { result: result.clone(), parameters: parameters.iter().map(named).collect() })
}

fn function<'a>(
    header: &'a Header,
    of: &'a Function,
    history: History,
    is_callback: bool,
) -> FunctionEntry<'a> {
    let parameters = of.parameters.iter().map(|(name, c_type)| {
        // What a callback gets or gives back, its own comment tells in words.
        let (direction, ownership) = if is_callback {
            (direction(of, name, c_type, header), Ownership::default())
        } else {
            owned(header, of, name, c_type)
        };
        let nullable = if is_callback { None } else { nullable(of, name, c_type) };
        ParameterEntry {
            name,
            c_type: c_type.text(),
            direction,
            nullable,
            ownership,
            signature: signature(c_type),
        }
    });
    let parameters = parameters.collect();
    let result = ResultEntry { c_type: &of.result, ownership: result(header, of, is_callback) };
    FunctionEntry { name: &of.name, history, doc: &of.doc, result, parameters }
}

fn result<'a>(header: &'a Header, of: &Function, is_callback: bool) -> Ownership<'a> {
    let Some(handle) = of.result.strip_suffix('*').map(str::trim) else { return Ownership::default() };
    let freed_with = if is_callback { None } else { header.freed_with(handle) };
    let ownership = match freed_with {
        Some(_) => Some("caller"),
        None if of.doc.contains("lives for ever") => Some("static"),
        None if handle.starts_with("const ") && !is_callback => Some("borrowed"),
        None => None,
    };
    Ownership { ownership, freed_with }
}

fn frees(of: &Function) -> bool {
    ["_free", "_release"].iter().any(|ending| of.name.ends_with(ending))
}

fn direction(of: &Function, name: &str, c_type: &Type, header: &Header) -> &'static str {
    let Type::Plain { text, .. } = c_type else { return "in" };
    let is_handle = c_type.pointee(1).is_some_and(|handle| header.is_opaque(handle));
    let is_out = text.ends_with('*')
        && !c_type.points_to_const()
        && !is_handle
        && !frees(of)
        && !name.ends_with("user_data");
    if is_out { "out" } else { "in" }
}

fn owned<'a>(header: &'a Header, of: &Function, name: &str, c_type: &Type) -> (&'static str, Ownership<'a>) {
    let direction = direction(of, name, c_type, header);
    let handed_over =
        c_type.pointee(2).filter(|_| direction == "out").and_then(|handle| header.freed_with(handle));
    let ownership = match c_type {
        _ if handed_over.is_some() => Some("caller"),
        Type::Plain { text, .. } if text.ends_with('*') && frees(of) => Some("consumed"),
        Type::Plain { text, .. }
            if text.ends_with('*') && direction == "in" && !name.ends_with("user_data") =>
        {
            Some("borrowed")
        }
        _ => None,
    };
    (direction, Ownership { ownership, freed_with: handed_over })
}

/// Whether the parameter may be NULL: `true` where its function says so, `false` where the conventions at the head of
/// the header make it an error (handles and results).
fn nullable(of: &Function, name: &str, c_type: &Type) -> Option<bool> {
    let Type::Plain { text, .. } = c_type else {
        return says_null(&of.doc, name).then_some(true);
    };
    if !text.ends_with('*') {
        return None;
    }
    let allowed = text == "atomkv_error **" || frees(of) || says_null(&of.doc, name);
    match allowed {
        true => Some(true),
        // A handle or a result pointer; for bytes it depends on their length.
        false if !text.ends_with("void *") && !text.ends_with("char *") => Some(false),
        false => None,
    }
}

/// Whether a sentence about the parameter allows NULL: "`name`: NULL for …", "`name` may be NULL".
fn says_null(doc: &str, name: &str) -> bool {
    let quoted = format!("`{name}`");
    doc.split(['.', ';']).any(|sentence| {
        let Some((_, after)) = sentence.split_once(&quoted) else { return false };
        let nullable =
            after.trim_start().starts_with(": NULL") || after.trim_start().starts_with(": may be NULL");
        nullable || after.contains("may be NULL") || after.contains("may all be NULL")
    })
}
