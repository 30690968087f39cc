//! Foreign text inside of a message.

/// The most characters of it that a message shows.
const LONGEST: usize = 64;

/// `text` in quotes, with whatever is not printable escaped, and cut where it is long.
pub(crate) fn excerpt(text: &str) -> String {
    let (shown, cut) = split(text, LONGEST);
    format!("{shown:?}{cut}")
}

/// A value in words, such as a list, cut where it is long.
pub(crate) fn shortened(words: &str) -> String {
    let (shown, cut) = split(words, 4 * LONGEST);
    format!("{shown}{cut}")
}

/// At most the first `longest` characters, and a mark if there are more.
fn split(text: &str, longest: usize) -> (&str, &str) {
    match text.char_indices().nth(longest) {
        Some((end, _)) => (&text[..end], "..."),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_printable_is_escaped_and_what_is_long_is_cut() {
        assert_eq!(excerpt("\u{1b}[2J\n"), r#""\u{1b}[2J\n""#);
        let long = excerpt(&"x".repeat(10_000));
        assert_eq!(long, format!("\"{}\"...", "x".repeat(LONGEST)));
    }

    proptest! {
        #[test]
        fn it_is_one_short_line_of_printable_characters(text in any::<String>()) {
            let shown = excerpt(&text);
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert!(shown.chars().count() < 12 * LONGEST);
        }
    }
}
