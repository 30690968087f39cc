//! What is asked about an answer: the logits at each token that was appended, which tell how narrow the choice was.

use tlbench_checkpoint::RecordedAnswer;
use tlbench_sdk::{INPUT_IDS, Padding, PluginError, Quantity, Stimulus, Tensor};

/// The name of the input that is made of a prompt and what followed it.
const GENERATED: &str = "generated";

/// The prompt of the first generation from a single row, followed by what was generated; `None` where there is none.
pub(crate) fn continuation(answers: &[RecordedAnswer]) -> Result<Option<Stimulus>, PluginError> {
    if answers.iter().any(|answer| answer.stimulus.id == GENERATED) {
        return Ok(None);
    }
    let rows = answers.iter().find_map(|answer| {
        let request = &answer.stimulus.request;
        let prompt = request.inputs.get(INPUT_IDS)?;
        let new = answer.values.get(&Quantity::Generated)?;
        let is_single = request.generate.is_some() && request.shape()[0] == 1;
        is_single.then_some([tokens(prompt)?, tokens(new)?])
    });
    rows.map(|[prompt, new]| {
        let row = [prompt, new].concat();
        let stimulus = Stimulus::from_rows(GENERATED, &[row], Padding::Right, 0)?;
        Ok(stimulus.showing([Quantity::Logits]))
    })
    .transpose()
}

fn tokens(tensor: &Tensor) -> Option<&[i64]> {
    tensor.as_slice::<i64>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tlbench_sdk::{GenerateRequest, Sampling};

    use super::*;

    fn answered(id: &str, rows: &[Vec<i64>], new: &[i64]) -> RecordedAnswer {
        let mut stimulus = Stimulus::from_rows(id, rows, Padding::Left, 0)
            .unwrap()
            .showing([Quantity::Generated]);
        stimulus.request.generate = Some(GenerateRequest {
            max_new_tokens: 2,
            stop_tokens: Vec::new(),
            use_cache: true,
            sampling: Sampling::Greedy,
        });
        let shape = [rows.len(), new.len() / rows.len()];
        let new = Tensor::from_vec(new.to_vec(), &shape).unwrap();
        RecordedAnswer {
            stimulus,
            values: BTreeMap::from([(Quantity::Generated, new)]),
            floors: BTreeMap::new(),
        }
    }

    #[test]
    fn the_first_generation_of_a_single_row_is_looked_at() {
        let answers = [
            answered("padded", &[vec![1, 2], vec![3]], &[4, 5, 6, 7]),
            answered("generation", &[vec![1, 2, 3]], &[8, 9]),
            answered("another", &[vec![1]], &[8]),
        ];
        let asked = continuation(&answers).unwrap().unwrap();
        let expected = Stimulus::from_rows("generated", &[vec![1, 2, 3, 8, 9]], Padding::Left, 0);
        assert_eq!(asked, expected.unwrap().showing([Quantity::Logits]));
        assert_eq!(continuation(&answers[..1]).unwrap(), None);
    }
}
