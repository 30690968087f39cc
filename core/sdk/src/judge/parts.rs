//! Checks of more than memory should hold at once.

/// `items` in parts of at most `most` elements, each with the variant of its check: `variant` itself, or one for each of
/// several. An item that is larger is a part of its own.
pub fn in_parts<T>(
    variant: &str,
    items: Vec<T>,
    most: usize,
    elements: impl Fn(&T) -> usize,
) -> Vec<(String, Vec<T>)> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut held = 0;
    for item in items {
        let size = elements(&item);
        match parts.last_mut() {
            Some(part) if held + size <= most => {
                part.push(item);
                held += size;
            }
            _ => {
                parts.push(vec![item]);
                held = size;
            }
        }
    }
    let count = parts.len();
    let named = |(index, part)| match count {
        1 => (variant.to_owned(), part),
        _ => (format!("{variant}.part_{}", index + 1), part),
    };
    parts.into_iter().enumerate().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(sizes: &[usize]) -> Vec<(String, Vec<usize>)> {
        in_parts("text", sizes.to_vec(), 10, |size| *size)
    }

    #[test]
    fn what_fits_is_one_check_under_its_own_name() {
        assert_eq!(parts(&[4, 6]), [("text".to_owned(), vec![4, 6])]);
        assert_eq!(parts(&[]), []);
    }

    #[test]
    fn one_that_is_larger_than_all_that_fits_is_a_part_of_its_own() {
        let expected = [
            ("text.part_1", vec![4]),
            ("text.part_2", vec![30]),
            ("text.part_3", vec![1, 9]),
        ];
        assert_eq!(
            parts(&[4, 30, 1, 9]),
            expected.map(|(name, part)| (name.to_owned(), part))
        );
    }
}
