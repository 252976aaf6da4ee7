//! Between values of scripts and bytes.
//!
//! A script sees a value that is JSON as what that says, other text as a string, anything else as a blob; and stores
//! strings and blobs as their bytes, anything else as JSON.

use rhai::{Array, Blob, Dynamic, Map};
use serde_json::{Number, Value};

use crate::failure::{Failure, Kind, Result};
use crate::output::{json, text_of};

/// Deeper than this nothing is written as JSON, as nothing deeper is read.
const DEPTH_MAX: usize = 120;

/// A value as a script sees it.
pub fn from_value(bytes: &[u8]) -> Dynamic {
    let Some(text) = text_of(bytes) else { return Dynamic::from_blob(bytes.to_vec()) };
    parsed(text).ok().flatten().unwrap_or_else(|| text.to_string().into())
}

/// What JSON text says; `None` if it has a whole number that a script cannot hold exactly.
///
/// # Errors
/// It is no JSON.
pub fn parsed(text: &str) -> serde_json::Result<Option<Dynamic>> {
    let value = serde_json::from_str(text)?;
    // The value alone does not tell: whole numbers beyond 64 bits are rounded in it.
    let is_exact = json::tokens(text).iter().all(|token| !is_whole(token) || token.parse::<i64>().is_ok());
    Ok(from_json(value).filter(|_| is_exact))
}

/// Whether a token of JSON is a number that is written as a whole one.
fn is_whole(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// Text where the bytes are, else a blob.
pub fn from_bytes(bytes: &[u8]) -> Dynamic {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_string().into(),
        Err(_) => Dynamic::from_blob(bytes.to_vec()),
    }
}

/// What a value of JSON says; `None` if it has a whole number that a script cannot hold.
pub fn from_json(value: Value) -> Option<Dynamic> {
    Some(match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(value) => value.into(),
        Value::String(text) => text.into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None if number.is_u64() => return None,
            None => number.as_f64()?.into(),
        },
        Value::Array(values) => {
            Dynamic::from_array(values.into_iter().map(from_json).collect::<Option<Array>>()?)
        }
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| Some((name.into(), from_json(value)?)));
            Dynamic::from_map(members.collect::<Option<Map>>()?)
        }
    })
}

/// The bytes to store for a value.
///
/// # Errors
/// Of what is no data: nothing, functions, handles.
pub fn to_value(value: &Dynamic) -> Result<Vec<u8>> {
    match bytes_of(value) {
        Some(bytes) => Ok(bytes),
        None if value.is_unit() => {
            Err(Failure::new(Kind::Refused, "there is nothing to store: the value is ()"))
        }
        None => Ok(json_of(value, 0, false)?.to_string().into_bytes()),
    }
}

/// The bytes of a key: of text, a blob or a number.
///
/// # Errors
/// Of anything else.
pub fn to_key(key: &Dynamic) -> Result<Vec<u8>> {
    match bytes_of(key) {
        Some(bytes) => Ok(bytes),
        None if key.is_int() => Ok(key.to_string().into_bytes()),
        None => {
            let message = format!("a key is text, a blob or a number, not {}", key.type_name());
            Err(Failure::new(Kind::Refused, message))
        }
    }
}

fn bytes_of(value: &Dynamic) -> Option<Vec<u8>> {
    if let Some(blob) = value.read_lock::<Blob>() {
        return Some(blob.clone());
    }
    let is_text = value.is_string() || value.is_char();
    is_text.then(|| value.to_string().into_bytes())
}

/// A value as JSON; blobs within it are refused, because JSON has none.
///
/// # Errors
/// Of what JSON cannot say.
pub fn to_json(value: &Dynamic) -> Result<Value> {
    json_of(value, 0, false)
}

/// A value as JSON to look at: what JSON cannot say is described.
///
/// # Errors
/// Of what is nested too deeply.
pub fn to_shown_json(value: &Dynamic) -> Result<Value> {
    json_of(value, 0, true)
}

fn json_of(value: &Dynamic, depth: usize, is_shown: bool) -> Result<Value> {
    if depth > DEPTH_MAX {
        return Err(Failure::new(
            Kind::Refused,
            format!("the value is nested deeper than {DEPTH_MAX} levels"),
        ));
    }
    let deeper = |value: &Dynamic| json_of(value, depth + 1, is_shown);
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(value) = value.as_bool() {
        return Ok(Value::Bool(value));
    }
    if let Ok(value) = value.as_int() {
        return Ok(Value::from(value));
    }
    if let Ok(value) = value.as_float() {
        return match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None if is_shown => Ok(Value::String(value.to_string())),
            None => Err(Failure::new(Kind::Refused, format!("JSON has no {value}"))),
        };
    }
    if value.is_string() || value.is_char() {
        return Ok(Value::String(value.to_string()));
    }
    if let Some(array) = value.read_lock::<Array>() {
        return array.iter().map(deeper).collect::<Result<Vec<_>>>().map(Value::Array);
    }
    if let Some(map) = value.read_lock::<Map>() {
        let members = map.iter().map(|(name, value)| Ok((name.to_string(), deeper(value)?)));
        return members.collect::<Result<serde_json::Map<_, _>>>().map(Value::Object);
    }
    match value.read_lock::<Blob>() {
        Some(blob) if is_shown => Ok(Value::String(format!("0x{}", data_encoding::HEXLOWER.encode(&blob)))),
        _ if is_shown => Ok(Value::String(format!("<{}>", value.type_name()))),
        _ => Err(Failure::new(Kind::Refused, format!("JSON has no {}", value.type_name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_are_stored() {
        for text in [
            r#"{"a":[1,2.5,null,true]}"#,
            "5",
            "[]",
            "plain text",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            r#"{"id":99999999999999999999}"#,
            r#"{"99999999999999999999":[1,-7]}"#,
            "31.245270191439438",
            "007",
        ] {
            let value = from_value(text.as_bytes());
            assert_eq!(to_value(&value).expect("data"), text.as_bytes(), "{text}");
        }
        assert!(from_value(b"18446744073709551615").is_string());
        assert!(from_value(br#"{"id":99999999999999999999}"#).is_string());
        assert!(from_value(br#"{"99999999999999999999":[1,-7]}"#).is_map());
        assert!(from_value(b"31.245270191439438").is_float());
        assert!(parsed("123456789012345678901").expect("JSON").is_none() && parsed("x").is_err());
        assert_eq!(from_value(b"\xff").into_blob().expect("a blob"), b"\xff");
        assert!(to_value(&Dynamic::UNIT).is_err() && to_key(&Dynamic::from(1.5)).is_err());
        assert_eq!(to_key(&Dynamic::from(7_i64)).expect("a key"), b"7");
    }

    #[test]
    fn what_json_cannot_say_is_refused_and_described() {
        let blob = Dynamic::from_array(vec![Dynamic::from_blob(vec![1])]);
        assert!(to_json(&blob).is_err());
        assert_eq!(to_shown_json(&blob).expect("shown").to_string(), r#"["0x01"]"#);
        assert!(to_json(&Dynamic::from(f64::NAN)).is_err());
        assert_eq!(to_shown_json(&Dynamic::from(f64::NAN)).expect("shown").to_string(), r#""NaN""#);
        let deep = (0..200).fold(Dynamic::UNIT, |inner, _| Dynamic::from_array(vec![inner]));
        assert!(to_json(&deep).expect_err("too deep").to_string().contains("nested"));
    }
}
