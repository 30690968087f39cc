//! Tokens that go where they should, and elsewhere.

use insta::assert_snapshot;
use serde_json::{Value, json};
use tlbench_sdk::{ModelInfo, Padding, Tensor, Trace};

use super::model::{FLOOR, judged, line, model, refusal, showing, trace};
use crate::router_choices::RouterChoices;

const INDICES: &str = "blocks.0.mlp.hook_expert_indices";
const SCORES: &str = "blocks.0.mlp.hook_expert_weights";

fn mixed(hooks: &[&str]) -> ModelInfo {
    let linear = |shape: [usize; 2]| json!({ "weight": { "names": ["w"], "shape": shape }, "bias": null, "tap": null });
    let expert: Value = json!({
        "d_mlp": 5, "input": linear([5, 12]), "output": linear([12, 5]), "activation": "silu", "module": null,
    });
    let moe = json!({ "moe": {
        "router": linear([4, 12]), "score": "softmax", "order": "before_top_k", "top_k": 2, "renormalise": "yes",
        "experts": vec![expert; 4], "module": null,
    } });
    let model = model(json!({
        "wiring": "sequential", "module": null, "attn": null, "mlp": { "input": "stream", "body": moe },
    }));
    showing(model, &[3, 1], Padding::Right, hooks)
}

/// Of six tokens, two of which are padding, all choose the same but for one.
fn shown(token: usize, experts: [f64; 2]) -> Trace {
    let mut chosen = [[2.0, 0.0]; 6];
    chosen[token] = experts;
    let scores = [0.3, 0.3 - 5.0 * FLOOR, 0.35, 0.05].repeat(6);
    trace([
        (
            INDICES,
            Tensor::from_vec(chosen.concat(), &[2, 3, 2]).unwrap(),
        ),
        (SCORES, Tensor::from_vec(scores, &[2, 3, 4]).unwrap()),
    ])
}

fn verdict(hooks: &[&str], token: usize, experts: [f64; 2]) -> String {
    let model = mixed(hooks);
    line(judged(
        &RouterChoices,
        &model,
        shown(0, [2.0, 0.0]),
        shown(token, experts),
    ))
}

#[test]
fn the_first_token_that_goes_elsewhere_is_told() {
    let both = [INDICES, SCORES];
    let lines = [
        verdict(&both, 1, [2.0, 0.0]),
        // In another order.
        verdict(&both, 1, [0.0, 2.0]),
        verdict(&both, 1, [2.0, 3.0]),
        verdict(&both, 3, [3.0, 1.0]),
        // Twice the same expert, as by an edit.
        verdict(&both, 1, [2.0, 2.0]),
        // Experts 0 and 1 score the same, as far as one can tell.
        verdict(&both, 1, [2.0, 1.0]),
        // Nobody says so here.
        verdict(&[INDICES], 1, [2.0, 1.0]),
        // Padding may go anywhere.
        verdict(&both, 4, [3.0, 1.0]),
    ];
    assert_snapshot!(lines.join("\n"), @r"
    INFO: 4 of 4 tokens go to the experts that they go to in the reference
    INFO: 4 of 4 tokens go to the experts that they go to in the reference
    DANGER: blocks.0.mlp: position 1 of row 0 goes to experts 2, 3 where the reference has experts 0, 2
    DANGER: blocks.0.mlp: position 0 of row 1 goes to experts 1, 3 where the reference has experts 0, 2
    DANGER: blocks.0.mlp: position 1 of row 0 goes to expert 2 where the reference has experts 0, 2
    WARNING: 3 of 4 tokens go to the experts that they go to in the reference, and 1 to others that score the same
    DANGER: blocks.0.mlp: position 1 of row 0 goes to experts 1, 2 where the reference has experts 0, 2
    INFO: 4 of 4 tokens go to the experts that they go to in the reference
    ");
}

#[test]
fn where_nothing_is_chosen_or_shown_nothing_is_planned() {
    let dense = model(Value::Null);
    let lines = [dense, mixed(&[SCORES])].map(|model| refusal(&RouterChoices, &model));
    assert_snapshot!(lines.join("\n"), @r"
    no block chooses among experts
    the reference shows which experts are chosen on no input
    ");
}
