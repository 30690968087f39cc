//! What ids look like: they stand in check ids, configs, globs and on the command line.

use crate::excerpt::excerpt;

/// The most characters that an id has.
const LONGEST: usize = 64;

/// A text that is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: expected an id of 1 to {LONGEST} ASCII letters, digits, `_`, `-` or `.`, of which the first is a letter or digit",
    excerpt(.found)
)]
pub struct IdError {
    /// The text.
    pub found: String,
}

/// Whether `text` can name something that a plugin offers, a check's variant or an input: 1 to 64 ASCII letters,
/// digits, `_`, `-` or `.`, of which the first is a letter or digit.
///
/// # Errors
/// If it cannot.
pub fn check_id(text: &str) -> Result<(), IdError> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let starts_well = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts_well && text.len() <= LONGEST && text.bytes().all(is_part) {
        Ok(())
    } else {
        Err(IdError {
            found: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_and_what_is_none() {
        for id in [
            "gpt2",
            "hf-recorded",
            "left_padded",
            "0",
            "blocks.11.attn.hook_z",
        ] {
            assert_eq!(check_id(id), Ok(()));
        }
        let none = [
            "",
            " ",
            "a b",
            "a/b",
            "a\nb",
            "\u{1b}[31m",
            "*",
            "a?",
            "[a]",
            "{a}",
            "!a",
            "-x",
            ".",
            "..",
            "_x",
            "é",
            "a\u{202e}b",
            "a\0",
        ];
        for text in none {
            assert!(check_id(text).is_err(), "{text:?}");
        }
        assert!(check_id(&"x".repeat(LONGEST)).is_ok());
        let error = check_id(&"x".repeat(10_000)).unwrap_err();
        assert!(error.to_string().len() < 250, "{error}");
    }

    proptest! {
        #[test]
        fn an_id_is_one_word_of_a_path_and_no_glob(text in any::<String>()) {
            if check_id(&text).is_ok() {
                prop_assert!(!text.is_empty() && text.len() <= LONGEST);
                let strange = |c: char| c.is_control() || c.is_whitespace() || "/\\*?[]{}!,\"'`".contains(c);
                prop_assert!(!text.contains(strange));
                prop_assert!(!text.starts_with('-') && text != "." && text != "..");
            }
        }

        #[test]
        fn every_text_of_the_rule_is_an_id(id in "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}") {
            prop_assert_eq!(check_id(&id), Ok(()));
        }

        #[test]
        fn the_message_is_one_short_printable_line(text in any::<String>()) {
            if let Err(error) = check_id(&text) {
                prop_assert!(!error.to_string().chars().any(char::is_control));
            }
        }
    }
}
