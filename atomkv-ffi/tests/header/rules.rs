//! What the header is held to: every type and function says since when it is there, every parameter is explained, and
//! nothing speaks of the language that the library is written in.

use crate::model::{Function, Header, Item};

/// Words that tell nothing to a C programmer.
const FOREIGN_WORDS: [&str; 22] = [
    "Option", "Result", "Vec", "None", "Some", "Box", "Arc", "Mutex", "String", "crate", "usize", "isize",
    "impl", "unsafe", "u8", "u16", "u32", "u64", "i32", "i64", "cbindgen", "Rust",
];

/// Marks that tell nothing to a C programmer.
const FOREIGN_MARKS: [&str; 6] = ["# Safety", "# Errors", "# Panics", "&self", "&mut", "::"];

/// The places where the header speaks of another language.
pub fn words(text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let word =
            line.split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| FOREIGN_WORDS.contains(word));
        let mark = FOREIGN_MARKS.into_iter().find(|mark| line.contains(mark));
        // An intra-documentation link: [`name`].
        let link = line.contains("[`").then_some("[`");
        if line.chars().count() > 120 {
            broken.push(format!("line {number} is longer than 120 columns: {}", line.trim()));
        }
        if let Some(foreign) = word.or(mark).or(link) {
            broken.push(format!("line {number}: `{foreign}` is no word of C: {}", line.trim()));
        }
    }
    broken
}

/// The items that lack a history, a comment, or a word about a parameter.
pub fn items(header: &Header) -> Vec<String> {
    let part = |name| header.constant(name).and_then(|value| value.parse().ok()).expect("a version");
    let version: (u32, u32) = (part("ATOMKV_VERSION_MAJOR"), part("ATOMKV_VERSION_MINOR"));
    let mut broken = Vec::new();
    for item in &header.items {
        let (name, doc) = (item.name(), item.doc());
        if !name.starts_with("atomkv_") && !name.starts_with("ATOMKV_") {
            broken.push(format!("{name} does not begin with atomkv_"));
        }
        if doc.is_empty() {
            broken.push(format!("{name} has no comment"));
        }
        match (since(doc), is_unstable(doc), item) {
            (None, false, Item::Constant(_)) => {}
            (None, false, _) => broken.push(format!("{name} says neither \"Since 0.N.\" nor \"Unstable.\"")),
            (Some(since), _, _) if since > version => {
                broken.push(format!("{name} is there since a release that is still to come: {since:?}"));
            }
            _ => {}
        }
        match item {
            Item::Enumeration(of) => broken.extend(
                of.values
                    .iter()
                    .filter(|value| value.doc.is_empty())
                    .map(|value| format!("{} has no comment", value.name)),
            ),
            Item::Structure(of) => broken.extend(
                of.fields
                    .iter()
                    .filter(|field| field.doc.is_empty())
                    .map(|field| format!("{name}.{} has no comment", field.name)),
            ),
            Item::Function(of) | Item::Callback(of) => broken.extend(
                of.parameters
                    .iter()
                    .filter(|(parameter, _)| !explained(header, of, parameter, 3))
                    .map(|(parameter, _)| format!("{name} does not say what `{parameter}` is")),
            ),
            _ => {}
        }
    }
    broken
}

/// The release that brought an item: "Since 0.1." in its comment.
pub fn since(doc: &str) -> Option<(u32, u32)> {
    let (_, after) = doc.rsplit_once("Since ")?;
    let (number, _) = after.split_once(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or((after, ""));
    let (major, minor) = number.strip_suffix('.')?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether an item may still change between releases.
pub fn is_unstable(doc: &str) -> bool {
    doc.split(|c: char| !c.is_alphanumeric()).any(|word| word == "Unstable")
}

/// Whether somebody who reads the comment of the function learns what the parameter is: it is named there; or in the
/// conventions at the head of the header; or in the comment of a function that this one names ("as in `atomkv_open`");
/// or it is the handle that the function works on; or the only thing besides the handle, so that the comment as a whole
/// speaks of it. A length goes with its pointer.
fn explained(header: &Header, of: &Function, parameter: &str, depth: usize) -> bool {
    let named = |text: &str| {
        text.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word.eq_ignore_ascii_case(parameter))
    };
    let is_handle = |index: usize| {
        of.parameters
            .get(index)
            .is_some_and(|(_, c_type)| c_type.pointee(1).is_some_and(|name| header.is_opaque(name)))
    };
    let place = of.parameters.iter().position(|(name, _)| name == parameter);
    if named(&of.doc) || header.overview.contains(&format!("`{parameter}`")) {
        return true;
    }
    match place {
        Some(0) if is_handle(0) || of.parameters.len() == 1 => return true,
        Some(1) if is_handle(0) && of.parameters.len() == 2 => return true,
        _ => {}
    }
    if let Some(pointer) =
        ["_size", "_len", "_count"].iter().find_map(|ending| parameter.strip_suffix(ending))
        && of.parameters.iter().any(|(name, _)| name == pointer)
        && explained(header, of, pointer, depth)
    {
        return true;
    }
    depth > 0
        && names(&of.doc).filter(|name| *name != of.name).filter_map(|name| header.function(name)).any(
            |other| {
                other.parameters.iter().any(|(name, _)| name == parameter)
                    && explained(header, other, parameter, depth - 1)
            },
        )
}

/// The names of the library in a text.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("atomkv_") || word.starts_with("ATOMKV_"))
        .filter(|word| word.len() > "atomkv_".len())
}
