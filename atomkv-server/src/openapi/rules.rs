//! What the types and routes cannot say of themselves: the whole range of numbers, how texts are written, and which fields of
//! an object belong together. With it a client can tell beforehand what the service would refuse.

use serde_json::{Map, Value, json};

/// A time above 0 that can be counted in milliseconds.
const TIME: &str = "0*[1-9]([0-9]{0,18}ms|[0-9]{0,15}s|[0-9]{0,13}m|[0-9]{0,11}h|[0-9]{0,10}d)";
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
/// Of at least one byte, with padding or without.
const BASE64URL: &str = "^([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{4}|[A-Za-z0-9_-][AQgw]\
                         |[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])={0,2}$";
const ENTITY_TAGS: &str = r#"^[ \t]*(\*|((W/)?"[ !#-~]*"[ \t]*(,[ \t]*(W/)?"[ !#-~]*"[ \t]*)*)?)$"#;

/// What holds of fields and parameters of these names and types, wherever they occur.
fn fields() -> [(&'static str, &'static str, Value); 14] {
    let pattern = |pattern: &str| json!({ "pattern": pattern });
    [
        ("key", "string", json!({ "minLength": 1 })),
        ("bookmark", "string", json!({ "minLength": 1 })),
        ("key_base64", "string", pattern(BASE64URL)),
        ("Atomkv-Key", "string", pattern(BASE64URL)),
        ("value_base64", "string", pattern(BASE64)),
        ("doc", "string", pattern(BASE64)),
        ("ttl", "string", pattern(&format!("^(none|{TIME})$"))),
        ("duration", "string", pattern(&format!("^{TIME}$"))),
        ("versions", "integer", json!({ "minimum": 1 })),
        ("etag", "string", pattern("^\"*[0-9]{1,19}-[0-9]{1,19}\"*$")),
        ("If-Match", "string", pattern(ENTITY_TAGS)),
        ("If-None-Match", "string", pattern(ENTITY_TAGS)),
        ("content_type", "string", pattern(r"^[^\x00-\x08\x0a-\x1f\x7f]*$")),
        ("tables", "string", pattern("^([^%]|%[0-7][0-9A-Fa-f])*$")),
    ]
}

/// What holds of the fields of these schemas together, or of one of them that is like none of its name.
fn schemas() -> [(&'static str, Value); 7] {
    let one_key = one_of(&["key", "key_base64"]);
    let values = ["value", "value_base64", "json"];
    let one_expiry = json!({ "not": { "allOf": [given("ttl"), given("expires_at_ms")] } });
    [
        (
            "Step",
            json!({ "allOf": [
                one_key,
                one_expiry,
                when("op", "put", one_of(&values), none_of(&values)),
                when("op", "check", given("if"), json!({})),
            ] }),
        ),
        ("Asked", one_key),
        (
            "NewOperation",
            json!({
                "properties": { "name": { "pattern": "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$" } },
                "allOf": [
                    when(
                        "kind",
                        "resize",
                        json!({ "allOf": [given("table"), given("partitions")] }),
                        none_of(&["table", "partitions"]),
                    ),
                    when("kind", "backup", given("name"), none_of(&["name"])),
                ],
            }),
        ),
        ("NewTable", json!({ "properties": { "ttl": { "pattern": format!("^{TIME}$") } } })),
        // An event need not have all of its fields.
        ("WatchEvent", json!({ "required": ["data"] })),
        // Their variants have one field each.
        ("If", json!({})),
        ("ToldRetention", json!({})),
    ]
}

/// The field is there, and not null, which is as if it were not.
fn given(field: &str) -> Value {
    json!({ "required": [field], "properties": { field: { "not": { "type": "null" } } } })
}

fn one_of(fields: &[&str]) -> Value {
    json!({ "oneOf": fields.iter().map(|field| given(field)).collect::<Vec<_>>() })
}

fn none_of(fields: &[&str]) -> Value {
    let fields = fields.iter().map(|field| (field.to_string(), json!({ "type": "null" })));
    json!({ "properties": fields.collect::<Map<_, _>>() })
}

fn when(field: &str, is: &str, then: Value, otherwise: Value) -> Value {
    json!({ "if": { "properties": { field: { "const": is } } }, "then": then, "else": otherwise })
}

type Fields = [(&'static str, &'static str, Value)];

/// Adds all of it to a description.
pub(super) fn add(description: &mut Value) {
    visit(description, &fields());
    let Some(known) = description.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, rules) in schemas() {
        let Some(schema) = known.get_mut(name) else { continue };
        merge(schema, rules);
        for variant in schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten() {
            if variant["type"] == "object" {
                variant["additionalProperties"] = false.into();
            }
        }
    }
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn visit(value: &mut Value, rules: &Fields) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| visit(value, rules)),
        Value::Object(object) => {
            bytes(object);
            numbers(object);
            body(object);
            parameter(object, rules);
            if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
                for (name, schema) in properties {
                    field(name, schema, rules);
                }
            }
            object.values_mut().for_each(|value| visit(value, rules));
        }
        _ => {}
    }
}

/// Bytes are not a list of numbers.
fn bytes(object: &mut Map<String, Value>) {
    let is_byte = |items: &Value| items["format"] == "int32" && items["minimum"] == 0;
    if object.get("type").is_some_and(|kind| kind == "array") && object.get("items").is_some_and(is_byte) {
        *object =
            Map::from_iter([("type".to_string(), "string".into()), ("format".to_string(), "binary".into())]);
    }
}

/// The numbers are unsigned, which OpenAPI's own formats do not know; these are of its registry.
fn numbers(object: &mut Map<String, Value>) {
    if object.get("minimum").and_then(Value::as_u64).is_none() {
        return;
    }
    let (format, most) = match object.get("format").and_then(Value::as_str) {
        Some("int64") => ("uint64", u64::MAX),
        Some("int32") => ("uint32", u32::MAX.into()),
        _ => return,
    };
    object.insert("format".to_string(), format.into());
    object.entry("maximum").or_insert(most.into());
}

/// A body of any type is anything, also nothing.
fn body(object: &mut Map<String, Value>) {
    let Some(any) = object.get_mut("content").and_then(|content| content.get_mut("*/*")) else { return };
    any["schema"] = json!({});
    if let Some(required) = object.get_mut("required") {
        *required = false.into();
    }
}

/// A parameter is a text or not there; it cannot be null.
fn parameter(object: &mut Map<String, Value>, rules: &Fields) {
    let Some(name) = object.get("name").and_then(Value::as_str).map(str::to_string) else { return };
    if !object.contains_key("in") {
        return;
    }
    let Some(schema) = object.get_mut("schema") else { return };
    let kind = schema["type"].as_array().and_then(|kinds| kinds.iter().find(|kind| *kind != "null")).cloned();
    if let Some(kind) = kind {
        schema["type"] = kind;
    }
    if name == "Last-Event-ID" {
        // Empty is as if it were not there: so the standard of server-sent events has it.
        *schema = json!({ "type": "string", "pattern": "^[0-9]{0,19}$" });
    }
    field(&name, schema, rules);
}

fn field(name: &str, schema: &mut Value, rules: &Fields) {
    let is_of = |kind: &str| {
        let known = &schema["type"];
        known == kind || known.as_array().is_some_and(|kinds| kinds.iter().any(|known| known == kind))
    };
    if let Some((.., rules)) = rules.iter().find(|(known, kind, _)| *known == name && is_of(kind)) {
        merge(schema, rules.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever renames a field renames it here too.
    #[test]
    fn every_rule_is_of_something() {
        let description: Value = serde_json::from_str(crate::openapi::json()).expect("JSON");
        let written = description.to_string();
        for (name, _, rules) in fields() {
            let (rule, value) = rules.as_object().and_then(|rules| rules.iter().next()).expect("a rule");
            assert!(written.contains(&format!("\"{rule}\":{value}")), "{name}");
        }
        for (name, rules) in schemas() {
            let schema = &description["components"]["schemas"][name];
            assert!(schema.is_object(), "{name}");
            for field in named(&rules) {
                // What only the rules know has no type.
                let known = &schema["properties"][&field];
                let is_known =
                    ["type", "$ref", "oneOf", "description"].iter().any(|of| known.get(of).is_some());
                assert!(is_known, "{name}: {field}");
            }
        }
        assert!(
            !written.contains("\"int64\"") && !written.contains("\"int32\""),
            "a number without its range"
        );
        for variant in description["components"]["schemas"]["If"]["oneOf"].as_array().expect("variants") {
            assert!(variant["type"] != "object" || variant["additionalProperties"] == false, "{variant}");
        }
    }

    /// The fields that rules name.
    fn named(value: &Value) -> Vec<String> {
        match value {
            Value::Array(values) => values.iter().flat_map(named).collect(),
            Value::Object(object) => {
                let own = object.get("properties").and_then(Value::as_object);
                let own = own.into_iter().flat_map(|fields| fields.keys().cloned());
                own.chain(object.values().flat_map(named)).collect()
            }
            _ => Vec::new(),
        }
    }
}
