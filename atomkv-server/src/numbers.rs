//! Numbers in JSON.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// 2 to the 64th.
const BEHIND_ALL: f64 = 18_446_744_073_709_551_616.0;

/// A whole number, which in JSON is one however it is written: `3`, `3.0`, `3e0`.
pub(crate) fn whole<'de, D: Deserializer<'de>, N: TryFrom<u64>>(json: D) -> Result<N, D::Error> {
    let number = serde_json::Number::deserialize(json)?;
    let is_whole = |value: &f64| value.fract() == 0.0 && (0.0..BEHIND_ALL).contains(value);
    let whole = number.as_u64().or_else(|| number.as_f64().filter(is_whole).map(|value| value as u64));
    let fitting = whole.and_then(|whole| N::try_from(whole).ok());
    fitting.ok_or_else(|| D::Error::custom(format!("{number} is no whole number, or none of this range")))
}

/// The same, or null.
pub(crate) fn whole_or_null<'de, D: Deserializer<'de>, N: TryFrom<u64>>(
    json: D,
) -> Result<Option<N>, D::Error> {
    #[derive(Deserialize)]
    #[serde(bound = "N: TryFrom<u64>")]
    struct Whole<N>(#[serde(deserialize_with = "whole")] N);
    Ok(Option::<Whole<N>>::deserialize(json)?.map(|Whole(number)| number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    struct Numbers {
        #[serde(deserialize_with = "whole")]
        wide: u64,
        #[serde(default, deserialize_with = "whole_or_null")]
        narrow: Option<u32>,
    }

    #[test]
    fn whole_numbers_are_such_however_they_are_written() {
        let read = |text: &str| serde_json::from_str::<Numbers>(text);
        for (text, wide, narrow) in [
            (r#"{"wide": 3}"#, 3, None),
            (r#"{"wide": 3.0, "narrow": null}"#, 3, None),
            (r#"{"wide": 18446744073709551615, "narrow": 4.294967295e9}"#, u64::MAX, Some(u32::MAX)),
            (r#"{"wide": -0.0, "narrow": 0}"#, 0, Some(0)),
        ] {
            let numbers = read(text).expect(text);
            assert_eq!((numbers.wide, numbers.narrow), (wide, narrow), "{text}");
        }
        for text in [
            r#"{"wide": 3.5}"#,
            r#"{"wide": -1}"#,
            r#"{"wide": 18446744073709551616}"#,
            r#"{"wide": 1e300}"#,
            r#"{"wide": "3"}"#,
            r#"{"wide": null}"#,
            r#"{"wide": 1, "narrow": 4294967296}"#,
            r#"{"wide": 1, "narrow": true}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
