//! Which layers a twin keeps, and what the config says of them.

use serde_json::{Map, Value};

/// A longer beginning is shortened within its runs.
const MOST: usize = 8;

/// The layers that show every kind beside every kind that it stands beside: a beginning, so that patterns of layers stay
/// what they are. Where that would be long, runs of one kind are two layers.
pub(super) fn chosen(kinds: &[Value]) -> Vec<usize> {
    let all: Vec<usize> = (0..kinds.len()).collect();
    let beginning = shortest_beginning(&all, kinds);
    if beginning.len() <= MOST {
        return beginning.to_vec();
    }
    let third_of_a_run = |layer: usize| {
        let before = layer.checked_sub(2).map(|first| &kinds[first..layer]);
        before.is_some_and(|before| before.iter().all(|kind| *kind == kinds[layer]))
    };
    let short: Vec<usize> = all
        .into_iter()
        .filter(|&layer| !third_of_a_run(layer))
        .collect();
    shortest_beginning(&short, kinds).to_vec()
}

/// The shortest beginning of `layers` in which all pairs of neighbours are that `layers` have.
fn shortest_beginning<'a>(layers: &'a [usize], kinds: &[Value]) -> &'a [usize] {
    let pairs = |layers: &'a [usize]| {
        let pairs = layers.windows(2);
        pairs.map(|pair| (&kinds[pair[0]], &kinds[pair[1]]))
    };
    let holds_all = |count: &usize| {
        let beginning = &layers[..*count];
        pairs(layers).all(|pair| pairs(beginning).any(|other| other == pair))
    };
    let count = (1..layers.len()).find(holds_all).unwrap_or(layers.len());
    &layers[..count]
}

/// A key that lists layers by their number.
const NUMBERS: [&str; 1] = ["mlp_only_layers"];

/// A key that is the number of the first layer of another kind.
const FIRSTS: [&str; 1] = ["max_window_layers"];

/// Makes what `config` says of `n_layers` layers what it is to say of `kept` alone.
pub(super) fn keep(config: &mut Map<String, Value>, n_layers: usize, kept: &[usize]) {
    for (key, value) in config {
        let key = key.as_str();
        match value {
            Value::Array(numbers) if NUMBERS.contains(&key) => {
                let stays = |layer: &usize| numbers.contains(&Value::from(kept[*layer]));
                *value = (0..kept.len()).filter(stays).collect();
            }
            // One entry for each layer.
            Value::Array(entries) if entries.len() == n_layers => {
                *value = kept.iter().map(|&layer| entries[layer].clone()).collect();
            }
            Value::Number(first) if FIRSTS.contains(&key) => {
                let is_before = |layer: &&usize| first.as_u64() > Some(**layer as u64);
                *value = kept.iter().filter(is_before).count().into();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds(text: &str) -> Vec<Value> {
        text.chars().map(|kind| json!(kind.to_string())).collect()
    }

    #[test]
    fn a_period_and_the_layer_after_it() {
        for (layers, count) in [
            ("a", 1),
            ("aa", 2),
            (&"a".repeat(32), 2),
            (&"ab".repeat(21), 3),
            (&"aaaaab".repeat(5), 7),
            ("abbb", 3),
        ] {
            let expected: Vec<usize> = (0..count).collect();
            assert_eq!(chosen(&kinds(layers)), expected, "{layers}");
        }
    }

    #[test]
    fn long_runs_are_two_layers() {
        let kinds = kinds(&format!("{}{}", "a".repeat(21), "b".repeat(7)));
        assert_eq!(chosen(&kinds), [0, 1, 21, 22]);
    }

    #[test]
    fn keys_about_layers_follow() {
        let config = json!({
            "layer_types": ["a", "a", "b", "b"],
            "mlp_only_layers": [1, 3],
            "max_window_layers": 2,
            "eos_token_id": [1, 2, 3],
        });
        let mut config = config.as_object().cloned().unwrap();
        keep(&mut config, 4, &[0, 2, 3]);
        let expected = json!({
            "layer_types": ["a", "b", "b"],
            "mlp_only_layers": [2],
            "max_window_layers": 1,
            "eos_token_id": [1, 2, 3],
        });
        assert_eq!(Value::Object(config), expected);
    }
}
