//! "Did you mean …?"

/// The name that is most like a word, if any is like it: one slip away, or with most letters in common.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let likeness = |name: &str| match strsim::osa_distance(&word, name) {
        0 => 2.0,
        // Of a word of two letters one slip is half of it.
        1 if word.len() > 2 => 1.0 + strsim::jaro_winkler(&word, name),
        _ => strsim::jaro_winkler(&word, name),
    };
    let likely = names.map(|name| (likeness(name), name)).filter(|(likeness, _)| *likeness > 0.8);
    likely.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
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
