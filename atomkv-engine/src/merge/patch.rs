//! JSON merge patches, RFC 7396.
//!
//! Documents are not turned into trees of numbers and strings: a number that a program's types cannot hold would
//! lose digits although nobody named it. Only objects that the patch goes into are taken apart; everything else is
//! copied as the text that it is.
//!
//! Nothing here recurses but [`merge`], once for each level of objects of the patch, whose depth is checked before.
//! Text that is skipped is checked by serde_json without recursion, so documents may be nested to any depth.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{check_length, refused, shown};
use crate::error::{Error, Result};

/// How deep a merge patch may be nested, objects and lists together. It is what serde_json reads, so a document that
/// it could read before a patch it can read afterwards.
pub const JSON_DEPTH_MAX: usize = 127;

/// Applies a patch to a document.
pub(super) fn apply(patch: &[u8], present: Option<&[u8]>) -> Result<Vec<u8>> {
    let patch_text: &RawValue = serde_json::from_slice(patch).map_err(|error| Error::InvalidArgument {
        reason: format!("the merge patch is {}; it must be JSON: {error}", shown(patch)),
    })?;
    let depth = depth(patch_text.get());
    if depth > JSON_DEPTH_MAX {
        let reason =
            format!("the merge patch is nested {depth} deep; at most {JSON_DEPTH_MAX} levels are allowed");
        return Err(Error::InvalidArgument { reason });
    }
    let not_json = |bytes: &[u8], error: serde_json::Error| {
        refused(format!("the value is {}; to apply a merge patch it must be JSON: {error}", shown(bytes)))
    };
    let target: Option<&RawValue> = match present {
        None => None,
        Some(bytes) => Some(serde_json::from_slice(bytes).map_err(|error| not_json(bytes, error))?),
    };
    let mut out = Vec::new();
    merge(target, patch_text, &mut out).map_err(|error| not_json(present.unwrap_or_default(), error))?;
    check_length(out.len())?;
    Ok(out)
}

/// Appends what the patch makes of the target: the function of RFC 7396, section 2.
fn merge(
    target: Option<&RawValue>,
    patch: &RawValue,
    out: &mut Vec<u8>,
) -> std::result::Result<(), serde_json::Error> {
    if !is_object(patch) {
        out.extend_from_slice(patch.get().as_bytes());
        return Ok(());
    }
    let members = match target {
        Some(target) if is_object(target) => members(target)?,
        _ => Vec::new(),
    };
    let mut changes = Changes::of(patch)?;
    for (name, value) in &members {
        if let Some(change) = changes.find(name) {
            change.target = Some(value);
        }
    }
    let mut object = ObjectWriter::begin(out);
    for (name, value) in members {
        let Some(change) = changes.find(name) else {
            object.name(name).extend_from_slice(value.get().as_bytes());
            continue;
        };
        change.write(name, &mut object)?;
    }
    for change in &mut changes.list {
        change.write(change.name, &mut object)?;
    }
    object.end();
    Ok(())
}

/// One member of a patch.
struct Change<'a> {
    name: &'a RawValue,
    patch: &'a RawValue,
    /// The present member of that name; of several the last.
    target: Option<&'a RawValue>,
    written: bool,
}

impl Change<'_> {
    /// Writes the member as it becomes, unless it goes or stands there already.
    fn write(
        &mut self,
        name: &RawValue,
        object: &mut ObjectWriter<'_>,
    ) -> std::result::Result<(), serde_json::Error> {
        if self.written || self.patch.get() == "null" {
            return Ok(());
        }
        self.written = true;
        merge(self.target, self.patch, object.name(name))
    }
}

/// The members of a patch, by name and in order.
struct Changes<'a> {
    list: Vec<Change<'a>>,
    places: HashMap<Name<'a>, usize>,
}

impl<'a> Changes<'a> {
    fn of(patch: &'a RawValue) -> std::result::Result<Changes<'a>, serde_json::Error> {
        let mut changes = Changes { list: Vec::new(), places: HashMap::new() };
        for (name, patch) in members(patch)? {
            match changes.places.entry(Name::of(name)) {
                Entry::Occupied(place) => changes.list[*place.get()].patch = patch,
                Entry::Vacant(place) => {
                    place.insert(changes.list.len());
                    changes.list.push(Change { name, patch, target: None, written: false });
                }
            }
        }
        Ok(changes)
    }

    fn find<'b>(&'b mut self, name: &RawValue) -> Option<&'b mut Change<'a>> {
        let place = self.places.get(&Name::of(name))?;
        self.list.get_mut(*place)
    }
}

/// A member's name as it is compared.
#[derive(PartialEq, Eq, Hash)]
enum Name<'a> {
    Text(Cow<'a, str>),
    /// JSON allows escapes of lone surrogates, which are no text: such a name equals only what is written alike.
    Escaped(&'a str),
}

impl<'a> Name<'a> {
    fn of(name: &'a RawValue) -> Name<'a> {
        let quoted = name.get();
        let plain = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match plain {
            Some(plain) if !plain.contains('\\') => Name::Text(Cow::Borrowed(plain)),
            _ => serde_json::from_str(quoted)
                .map_or(Name::Escaped(quoted), |text: String| Name::Text(Cow::Owned(text))),
        }
    }
}

struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> ObjectWriter<'a> {
    fn begin(out: &'a mut Vec<u8>) -> ObjectWriter<'a> {
        out.push(b'{');
        ObjectWriter { out, first: true }
    }

    /// Begins a member; its value is to be appended to what is returned.
    fn name(&mut self, name: &RawValue) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.extend_from_slice(name.get().as_bytes());
        self.out.push(b':');
        self.out
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

fn is_object(text: &RawValue) -> bool {
    text.get().starts_with('{')
}

/// Names and values of an object, as they are written.
type Members<'a> = Vec<(&'a RawValue, &'a RawValue)>;

/// Takes an object apart, one level only.
fn members(object: &RawValue) -> std::result::Result<Members<'_>, serde_json::Error> {
    struct Parts;

    impl<'de> Visitor<'de> for Parts {
        type Value = Members<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }

    serde_json::Deserializer::from_str(object.get()).deserialize_map(Parts)
}

/// How deep a text is nested. It must be JSON.
fn depth(json: &str) -> usize {
    let mut depth: usize = 0;
    let mut deepest = 0;
    let mut in_string = false;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn patched(present: &str, patch: &str) -> String {
        let merged = apply(patch.as_bytes(), Some(present.as_bytes())).expect("merges");
        String::from_utf8(merged).expect("UTF-8")
    }

    /// The table of RFC 7396, appendix A: document, patch, result.
    const EXAMPLES: [[&str; 3]; 15] = [
        [r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#],
        [r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#],
        [r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#],
        [r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#],
        [r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#],
        [r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#],
        [r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#],
        [r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#],
        [r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#],
        [r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#],
        [r#"{"a":"foo"}"#, r#"null"#, r#"null"#],
        [r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#],
        [r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#],
        [r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#],
        [r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#],
    ];

    #[test]
    fn the_examples_of_the_rfc() {
        for [document, patch, result] in EXAMPLES {
            assert_eq!(patched(document, patch), result, "{document} with {patch}");
        }
    }

    #[test]
    fn an_absent_document_counts_as_null() {
        for (patch, result) in [
            (r#"{"a":null}"#, "{}"),
            (r#"{"a":{"b":null,"c":1}}"#, r#"{"a":{"c":1}}"#),
            ("null", "null"),
            (" [null] ", "[null]"),
        ] {
            assert_eq!(apply(patch.as_bytes(), None).expect("merges"), result.as_bytes());
            assert_eq!(patched("null", patch), result);
        }
    }

    #[test]
    fn what_the_patch_does_not_name_stays_byte_for_byte() {
        let document = r#" { "id" : 123456789012345678901234567890 , "x":1.10, "huge":1e999, "e":"\u00e9\/",
            "\u0061":[ 1 , 2 ], "lone":"\ud800", "in":{"keep":-0.0, "go":1} } "#;
        assert_eq!(
            patched(document, r#"{"in":{"go":null,"new":0.30000000000000000001}, "b":{"c": 1E400}}"#),
            concat!(
                r#"{"id":123456789012345678901234567890,"x":1.10,"huge":1e999,"e":"\u00e9\/","\u0061":[ 1 , 2 ],"#,
                r#""lone":"\ud800","in":{"keep":-0.0,"new":0.30000000000000000001},"b":{"c":1E400}}"#
            )
        );
    }

    #[test]
    fn names_are_compared_as_text() {
        assert_eq!(patched(r#"{"\u0061":1,"b":2}"#, r#"{"a":3}"#), r#"{"\u0061":3,"b":2}"#);
        assert_eq!(patched(r#"{"a":1,"b":2}"#, r#"{"\u0062":null}"#), r#"{"a":1}"#);
        assert_eq!(
            patched(r#"{"\ud800":1,"b":2}"#, r#"{"\ud800":3,"\uD800":4}"#),
            r#"{"\ud800":3,"b":2,"\uD800":4}"#
        );
        assert_eq!(patched(r#"{"":1}"#, r#"{"":2}"#), r#"{"":2}"#);
    }

    #[test]
    fn of_doubled_names_the_last_counts() {
        assert_eq!(
            patched(r#"{"a":1,"b":2,"a":{"x":1}}"#, r#"{"a":{"y":2}}"#),
            r#"{"a":{"x":1,"y":2},"b":2}"#
        );
        assert_eq!(patched(r#"{"a":1,"b":2,"a":3}"#, r#"{"a":null}"#), r#"{"b":2}"#);
        assert_eq!(patched(r#"{"a":1,"b":2,"a":3}"#, r#"{"b":4}"#), r#"{"a":1,"b":4,"a":3}"#);
        assert_eq!(patched(r#"{"a":1}"#, r#"{"a":2,"b":5,"a":null}"#), r#"{"b":5}"#);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let wrong: [&[u8]; 17] = [
            b"",
            b" ",
            b"nul",
            b"{",
            b"{}}",
            b"{} {}",
            b"[1,]",
            b"{\"a\":}",
            b"{a:1}",
            b"{'a':1}",
            b"01",
            b"+1",
            b"NaN",
            b"\"\xff\"",
            b"\"\\x\"",
            b"\"\n\"",
            b"\xef\xbb\xbf{}",
        ];
        for bytes in wrong {
            let value = apply(br#"{"a":1}"#, Some(bytes));
            assert!(
                matches!(&value, Err(Error::Merge { reason }) if reason.contains("it must be JSON: ")),
                "{value:?}"
            );
            // A patch that replaces the whole document overwrites nothing that is no document.
            assert!(matches!(apply(b"1", Some(bytes)), Err(Error::Merge { .. })));
            let patch = apply(bytes, Some(b"{}"));
            assert!(matches!(&patch, Err(Error::InvalidArgument { .. })), "{patch:?}");
        }
    }

    fn nested(levels: usize, open: &str, close: &str) -> String {
        open.repeat(levels) + "1" + &close.repeat(levels)
    }

    #[test]
    fn deep_nesting_is_an_error_or_is_passed_over() {
        let million = nested(1_000_000, "[", "]");
        let document = format!(r#"{{"deep":{million},"a":1}}"#);
        assert_eq!(patched(&document, r#"{"a":2}"#), format!(r#"{{"deep":{million},"a":2}}"#));
        let objects = nested(1_000_000, r#"{"a":"#, "}");
        assert_eq!(patched(&objects, r#"{"a":null}"#), "{}");
        for deep in [&million, &objects, &nested(JSON_DEPTH_MAX + 1, r#"{"a":"#, "}")] {
            let refused = apply(deep.as_bytes(), Some(b"{}"));
            assert!(
                matches!(&refused, Err(Error::InvalidArgument { reason }) if reason.contains("at most 127 levels")),
                "{refused:?}"
            );
        }
        let deepest = nested(JSON_DEPTH_MAX, r#"{"a":"#, "}");
        assert_eq!(patched(&objects, &deepest), deepest);
        assert!(serde_json::from_str::<Value>(&deepest).is_ok(), "readable by serde_json");
        let deeper = nested(JSON_DEPTH_MAX + 1, "[", "]");
        assert!(serde_json::from_str::<Value>(&deeper).is_err(), "the limit is serde_json's");
    }

    #[test]
    fn brackets_in_strings_are_no_nesting() {
        assert_eq!(depth(r#""[[[""#), 0);
        assert_eq!(depth(r#"{"\"[":["{\\"],"b":[[]]}"#), 3);
    }

    /// A generator of numbers, after Sebastiano Vigna's SplitMix64.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (word ^ word >> 31) % limit
        }

        fn value(&mut self, levels: u64) -> Value {
            match self.below(if levels == 0 { 5 } else { 9 }) {
                0 => Value::Null,
                1 => json!(self.below(3) == 0),
                2 | 3 => json!(self.below(5)),
                4 => json!(format!("\"\\{}é", self.below(3))),
                5 => (0..self.below(3)).map(|_| self.value(levels - 1)).collect(),
                _ => {
                    let members = (0..self.below(5)).map(|_| {
                        let name = ["a", "b", "\"", "\\", "é"][self.below(5) as usize];
                        (name.to_string(), self.value(levels - 1))
                    });
                    Value::Object(members.collect())
                }
            }
        }
    }

    /// The function of RFC 7396, section 2, on trees.
    fn expected(target: Value, patch: &Value) -> Value {
        let Value::Object(changes) = patch else {
            return patch.clone();
        };
        let mut members = match target {
            Value::Object(members) => members,
            _ => serde_json::Map::new(),
        };
        for (name, change) in changes {
            let present = members.remove(name).unwrap_or(Value::Null);
            if !change.is_null() {
                members.insert(name.clone(), expected(present, change));
            }
        }
        Value::Object(members)
    }

    #[test]
    fn random_patches_do_what_the_rfc_says_and_twice_is_once() {
        let mut random = Random(7396);
        for _ in 0..20_000 {
            let [document, patch] = [random.value(4), random.value(4)];
            let texts = [document.to_string(), serde_json::to_string_pretty(&patch).expect("JSON")];
            let once = patched(&texts[0], &texts[1]);
            let tree: Value = serde_json::from_str(&once).expect("JSON");
            assert_eq!(tree, expected(document, &patch), "{} with {}", texts[0], texts[1]);
            assert_eq!(patched(&once, &texts[1]), once, "{} with {}", texts[0], texts[1]);
        }
    }

    /// Keeps what only adds: no `null`, and whatever is an object in one document is one in all.
    fn additive(value: Value) -> Value {
        let Value::Object(members) = value else {
            return json!({});
        };
        let members = members.into_iter().filter_map(|(name, value)| match value {
            Value::Object(_) => Some((format!("o{name}"), additive(value))),
            Value::Null => None,
            other => Some((name, other)),
        });
        Value::Object(members.collect())
    }

    /// In general they are not: `null` of a patch is gone once it has been merged.
    #[test]
    fn patches_that_only_add_are_associative() {
        let mut random = Random(8259);
        for _ in 0..5_000 {
            let [document, first, second] = [0; 3].map(|_| additive(random.value(4)).to_string());
            let steps = patched(&patched(&document, &first), &second);
            let both = patched(&document, &patched(&first, &second));
            let [steps, both]: [Value; 2] =
                [steps, both].map(|text| serde_json::from_str(&text).expect("JSON"));
            assert_eq!(steps, both, "{document} with {first} and {second}");
        }
        let steps = patched(&patched(r#"{"a":1}"#, "{}"), r#"{"a":null}"#);
        let both = patched(r#"{"a":1}"#, &patched("{}", r#"{"a":null}"#));
        assert_ne!(steps, both);
    }

    const DAMAGE: &[u8] = b"{}[]\":,\\u0e-.\xff\xc3 n";

    #[test]
    fn damaged_texts_are_refused_or_give_json() {
        let mut random = Random(1);
        let mut merged = 0;
        for _ in 0..20_000 {
            let mut texts =
                [random.value(4).to_string().into_bytes(), random.value(4).to_string().into_bytes()];
            for text in &mut texts {
                for _ in 0..random.below(3) {
                    let place = random.below(text.len() as u64) as usize;
                    text[place] = DAMAGE[random.below(DAMAGE.len() as u64) as usize];
                }
            }
            if let Ok(result) = apply(&texts[1], Some(&texts[0])) {
                merged += 1;
                serde_json::from_slice::<&RawValue>(&result).expect("JSON");
            }
        }
        assert!(merged > 1_000, "only {merged} were whole");
    }
}
