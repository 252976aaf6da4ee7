//! "Did you mean …?"

/// The name that is most like a word, if any is like it.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(&word.to_lowercase(), name);
    names
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_near_and_another_word_is_not() {
        let names = || ["get", "put", "history", "restore"].into_iter();
        assert_eq!(nearest("histroy", names()), Some("history"));
        assert_eq!(nearest("GET", names()), Some("get"));
        assert_eq!(nearest("gte", names()), Some("get"));
        assert_eq!(nearest("xylophone", names()), None);
    }
}
