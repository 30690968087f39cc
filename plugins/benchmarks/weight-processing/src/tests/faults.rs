//! What goes wrong in processing, and what is said of it.

use tlbench_sdk::{Benchmark, Mode, Processing, ProcessingStep, Severity, Verdict};

use super::by_hand::{centre_rows, edit, processed};
use super::model::{D_HEAD, D_MLP, D_MODEL, D_VOCAB, HEADS, Weights, answer, judge, model, raw};
use crate::finite::NoNanInf;
use crate::magnitudes::WeightMagnitudes;
use crate::step::{
    ATTENTION_OUTPUT_CENTERING, LAYER_NORM_FOLDING, MLP_OUTPUT_CENTERING, StepBenchmark,
    UNEMBED_CENTERING, VALUE_BIAS_FOLDING,
};

const STEPS: [&StepBenchmark; 5] = [
    &LAYER_NORM_FOLDING,
    &ATTENTION_OUTPUT_CENTERING,
    &MLP_OUTPUT_CENTERING,
    &UNEMBED_CENTERING,
    &VALUE_BIAS_FOLDING,
];

/// The verdicts after the step alone, and after all, when processing went wrong by `fault`.
fn verdicts(benchmark: &StepBenchmark, fault: impl Fn(&mut Weights, &Processing)) -> Vec<Verdict> {
    let model = model(Mode::Compat);
    let checks = benchmark.plan(&model).unwrap();
    let verdict = |check: &tlbench_sdk::Check| {
        let [of_raw, of_processed] = &check.requests[..] else {
            panic!("two questions")
        };
        assert!(of_raw.request.processing.is_raw());
        let steps = &of_processed.request.processing;
        let mut weights = processed(&raw(), steps);
        fault(&mut weights, steps);
        let answers = [answer(of_raw, &raw()), answer(of_processed, &weights)];
        judge(benchmark, &model, check, &answers)
    };
    checks.iter().map(verdict).collect()
}

/// The message after all steps, which has to be a failure, as it has to be after the step alone.
fn failure(benchmark: &StepBenchmark, fault: impl Fn(&mut Weights, &Processing)) -> String {
    let verdicts = verdicts(benchmark, fault);
    for verdict in &verdicts {
        assert_eq!(verdict.severity, Severity::Danger, "{}", verdict.message);
    }
    verdicts.last().unwrap().message.clone()
}

fn passes(benchmark: &StepBenchmark, fault: impl Fn(&mut Weights, &Processing)) -> bool {
    let verdicts = verdicts(benchmark, fault);
    verdicts
        .iter()
        .all(|verdict| verdict.severity == Severity::Info)
}

#[test]
fn weights_that_are_rounded_once_are_within_a_unit() {
    for benchmark in STEPS {
        for verdict in verdicts(benchmark, |_, _| {}) {
            assert_eq!(verdict.severity, Severity::Info, "{}", verdict.message);
        }
    }
}

#[test]
fn each_step_is_judged_alone_and_after_all() {
    let model = model(Mode::Compat);
    let variants = STEPS.map(|benchmark| {
        let checks = benchmark.plan(&model).unwrap();
        checks
            .into_iter()
            .map(|check| check.variant)
            .collect::<Vec<_>>()
    });
    for (found, alone) in variants
        .iter()
        .zip(["ln", "writing", "writing", "unembed", "values"])
    {
        assert_eq!(found, &[alone, "ln.writing.unembed.values"]);
    }
}

#[test]
fn a_gain_that_is_folded_twice() {
    let message = failure(&LAYER_NORM_FOLDING, |w, _| {
        let gain = raw()["blocks.1.ln2.w"].clone();
        for (index, value) in edit(w, "blocks.1.mlp.W_in").iter_mut().enumerate() {
            *value *= gain[index / D_MLP];
        }
    });
    assert!(
        message.starts_with("blocks.1.mlp.W_in: keeps a mean over its inputs of"),
        "{message}"
    );
}

#[test]
fn a_gain_that_is_folded_into_the_wrong_matrix() {
    let message = failure(&LAYER_NORM_FOLDING, |w, _| {
        let (k, v) = ("blocks.1.attn.W_K", "blocks.1.attn.W_V");
        let values = w[k].clone();
        *edit(w, v) = values;
    });
    assert!(message.starts_with("blocks.1.attn.W_V: "), "{message}");
    assert!(
        message.ends_with("ulp from what the raw weights give"),
        "{message}"
    );
}

#[test]
fn a_read_in_that_is_not_centred() {
    let message = failure(&LAYER_NORM_FOLDING, |w, _| {
        for value in edit(w, "blocks.1.attn.W_Q") {
            *value += 1e-5;
        }
    });
    assert!(
        message.starts_with("blocks.1.attn.W_Q: keeps a mean over its inputs"),
        "{message}"
    );
}

#[test]
fn a_norm_bias_that_goes_through_the_scaled_weight() {
    let message = failure(&LAYER_NORM_FOLDING, |w, _| {
        let (gain, shift) = (
            raw()["blocks.1.ln2.w"].clone(),
            raw()["blocks.1.ln2.b"].clone(),
        );
        let weight = raw()["blocks.1.mlp.W_in"].clone();
        let mut bias = raw()["blocks.1.mlp.b_in"].clone();
        for d in 0..D_MODEL {
            for m in 0..D_MLP {
                bias[m] += shift[d] * gain[d] * weight[d * D_MLP + m];
            }
        }
        *edit(w, "blocks.1.mlp.b_in") = bias;
    });
    assert!(message.starts_with("blocks.1.mlp.b_in: "), "{message}");
}

#[test]
fn a_norm_bias_that_is_dropped() {
    let message = failure(&LAYER_NORM_FOLDING, |w, _| {
        edit(w, "unembed.b_U").fill(0.0);
    });
    assert!(message.starts_with("unembed.b_U: "), "{message}");
}

#[test]
fn a_bias_that_folding_should_have_made() {
    let message = failure(&LAYER_NORM_FOLDING, |w, _| {
        w.remove("unembed.b_U");
    });
    assert_eq!(message, "unembed.b_U: the subject does not show it");
}

#[test]
fn a_norm_that_keeps_its_gain() {
    let message = failure(&LAYER_NORM_FOLDING, |w, _| {
        *edit(w, "ln_final.w") = raw()["ln_final.w"].clone();
    });
    assert!(message.starts_with("ln_final.w: "), "{message}");
}

#[test]
fn heads_that_are_not_centred() {
    let message = failure(&ATTENTION_OUTPUT_CENTERING, |w, _| {
        *edit(w, "blocks.1.attn.W_O") = raw()["blocks.1.attn.W_O"].clone();
    });
    assert!(
        message.starts_with("blocks.1.attn.W_O: keeps a mean over its outputs"),
        "{message}"
    );
}

#[test]
fn heads_that_are_centred_over_the_wrong_axis() {
    let message = failure(&ATTENTION_OUTPUT_CENTERING, |w, _| {
        let mut wrong = raw()["blocks.1.attn.W_O"].clone();
        for d in 0..D_MODEL {
            let rows = HEADS * D_HEAD;
            let mean = (0..rows).map(|r| wrong[r * D_MODEL + d]).sum::<f64>() / rows as f64;
            (0..rows).for_each(|r| wrong[r * D_MODEL + d] -= mean);
        }
        *edit(w, "blocks.1.attn.W_O") = wrong;
    });
    assert!(
        message.starts_with("blocks.1.attn.W_O: keeps a mean over its outputs"),
        "{message}"
    );
}

#[test]
fn embeddings_that_are_centred_and_scaled() {
    for name in ["embed.W_E", "pos_embed.W_pos"] {
        let message = failure(&ATTENTION_OUTPUT_CENTERING, |w, _| {
            edit(w, name)
                .iter_mut()
                .for_each(|value| *value *= 1.0 + 1e-5);
        });
        assert!(message.starts_with(&format!("{name}: ")), "{message}");
    }
}

#[test]
fn an_mlp_bias_that_is_not_centred() {
    let message = failure(&MLP_OUTPUT_CENTERING, |w, _| {
        *edit(w, "blocks.1.mlp.b_out") = raw()["blocks.1.mlp.b_out"].clone();
    });
    assert!(
        message.starts_with("blocks.1.mlp.b_out: keeps a mean over its outputs"),
        "{message}"
    );
}

#[test]
fn an_unembedding_that_is_centred_over_the_wrong_axis() {
    let message = failure(&UNEMBED_CENTERING, |w, _| {
        let mut wrong = raw()["unembed.W_U"].clone();
        for v in 0..D_VOCAB {
            let mean = (0..D_MODEL).map(|d| wrong[d * D_VOCAB + v]).sum::<f64>() / D_MODEL as f64;
            (0..D_MODEL).for_each(|d| wrong[d * D_VOCAB + v] -= mean);
        }
        *edit(w, "unembed.W_U") = wrong;
    });
    assert!(
        message.starts_with("unembed.W_U: keeps a mean over its outputs"),
        "{message}"
    );
}

#[test]
fn a_value_bias_that_is_zeroed_and_goes_nowhere() {
    let message = failure(&VALUE_BIAS_FOLDING, |w, steps| {
        *edit(w, "blocks.1.attn.b_O") = raw()["blocks.1.attn.b_O"].clone();
        if steps.has(ProcessingStep::CenterWritingWeights) {
            centre_rows(w, "blocks.1.attn.b_O", 1, D_MODEL);
        }
    });
    assert!(message.starts_with("blocks.1.attn.b_O: "), "{message}");
}

#[test]
fn a_value_bias_that_is_moved_and_stays() {
    let message = failure(&VALUE_BIAS_FOLDING, |w, _| {
        *edit(w, "blocks.0.attn.b_V") = raw()["blocks.0.attn.b_V"].clone();
    });
    assert_eq!(
        message,
        "blocks.0.attn.b_V: infinite ulp from what the raw weights give"
    );
}

#[test]
fn a_fault_belongs_to_the_step_that_made_it() {
    let fault = |w: &mut Weights, _: &Processing| edit(w, "blocks.1.mlp.W_out")[3] += 0.1;
    let caught = STEPS.iter().filter(|benchmark| !passes(benchmark, fault));
    let caught: Vec<String> = caught.map(|benchmark| benchmark.info().id).collect();
    assert_eq!(caught, ["mlp_output_centering"]);
}

#[test]
fn the_report_holds_the_formula_and_all_that_is_wrong() {
    let verdicts = verdicts(&VALUE_BIAS_FOLDING, |w, _| {
        edit(w, "blocks.0.attn.b_O")[0] += 1.0;
        edit(w, "blocks.1.attn.b_O")[0] += 1.0;
    });
    let details: Vec<String> = verdicts[1].details[..2]
        .iter()
        .map(|detail| format!("{}: {}", detail.name, detail.value))
        .collect();
    assert_eq!(
        details,
        [
            "expected: centred(blocks.0.attn.b_O + (blocks.0.attn.b_V + blocks.0.ln1.b @ blocks.0.attn.W_V) @ \
             centred(blocks.0.attn.W_O, outputs), outputs)",
            "wrong: 2 of 4: blocks.0.attn.b_O, blocks.1.attn.b_O",
        ]
    );
}

fn of_all_weights(benchmark: &dyn Benchmark, fault: impl Fn(&mut Weights)) -> Verdict {
    let model = model(Mode::Compat);
    let check = &benchmark.plan(&model).unwrap()[0];
    let answers: Vec<_> = check
        .requests
        .iter()
        .map(|planned| {
            let steps = &planned.request.processing;
            let mut weights = processed(&raw(), steps);
            if !steps.is_raw() {
                fault(&mut weights);
            }
            answer(planned, &weights)
        })
        .collect();
    judge(benchmark, &model, check, &answers)
}

#[test]
fn one_nan_among_all_weights() {
    let verdict = of_all_weights(&NoNanInf, |_| {});
    assert_eq!(
        (verdict.severity, verdict.message.as_str()),
        (Severity::Info, "38 weights are finite")
    );
    let verdict = of_all_weights(&NoNanInf, |w| edit(w, "blocks.1.mlp.W_out")[5] = f64::NAN);
    assert_eq!(verdict.severity, Severity::Danger);
    assert_eq!(
        verdict.message,
        "weight:blocks.1.mlp.W_out: 1 of 42 elements are not finite"
    );
}

#[test]
fn weights_that_processing_blew_up_or_wiped_out() {
    assert_eq!(
        of_all_weights(&WeightMagnitudes, |_| {}).severity,
        Severity::Info
    );
    let verdict = of_all_weights(&WeightMagnitudes, |w| edit(w, "embed.W_E")[7] = 40.0);
    assert_eq!(verdict.severity, Severity::Danger);
    assert!(
        verdict
            .message
            .starts_with("embed.W_E reaches 4.00e1, where"),
        "{}",
        verdict.message
    );
    let verdict = of_all_weights(&WeightMagnitudes, |w| edit(w, "unembed.W_U").fill(0.0));
    assert_eq!(verdict.message, "unembed.W_U is 0 throughout");
    // A weight that no step touches is known exactly.
    let verdict = of_all_weights(&WeightMagnitudes, |w| edit(w, "embed.W_E")[7] = f64::NAN);
    assert_eq!(verdict.severity, Severity::Danger);
}
