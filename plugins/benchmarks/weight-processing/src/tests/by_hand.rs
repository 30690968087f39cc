//! Weight processing once more, element by element, as TransformerLens's documentation tells it.

use tlbench_sdk::{Processing, ProcessingStep};

use super::model::{D_HEAD, D_MLP, D_MODEL, D_VOCAB, HEADS, N_CTX, Weights};

/// `weights` after `steps`, not rounded.
pub(super) fn processed(weights: &Weights, steps: &Processing) -> Weights {
    let mut w = weights.clone();
    if steps.has(ProcessingStep::FoldLn) {
        for layer in 0..2 {
            let block = format!("blocks.{layer}");
            for letter in ["Q", "K", "V"] {
                let (weight, bias) = (
                    format!("{block}.attn.W_{letter}"),
                    format!("{block}.attn.b_{letter}"),
                );
                fold(
                    &mut w,
                    &format!("{block}.ln1"),
                    &weight,
                    &bias,
                    HEADS,
                    D_HEAD,
                );
            }
            let (weight, bias) = (format!("{block}.mlp.W_in"), format!("{block}.mlp.b_in"));
            fold(&mut w, &format!("{block}.ln2"), &weight, &bias, 1, D_MLP);
            for norm in ["ln1", "ln2"] {
                forget(&mut w, &format!("{block}.{norm}"));
            }
        }
        w.insert("unembed.b_U".into(), vec![0.0; D_VOCAB]);
        fold(&mut w, "ln_final", "unembed.W_U", "unembed.b_U", 1, D_VOCAB);
        forget(&mut w, "ln_final");
    }
    if steps.has(ProcessingStep::CenterWritingWeights) {
        centre_rows(&mut w, "embed.W_E", D_VOCAB, D_MODEL);
        centre_rows(&mut w, "pos_embed.W_pos", N_CTX, D_MODEL);
        for layer in 0..2 {
            centre_rows(
                &mut w,
                &format!("blocks.{layer}.attn.W_O"),
                HEADS * D_HEAD,
                D_MODEL,
            );
            centre_rows(&mut w, &format!("blocks.{layer}.attn.b_O"), 1, D_MODEL);
            centre_rows(&mut w, &format!("blocks.{layer}.mlp.W_out"), D_MLP, D_MODEL);
            centre_rows(&mut w, &format!("blocks.{layer}.mlp.b_out"), 1, D_MODEL);
        }
    }
    if steps.has(ProcessingStep::CenterUnembed) {
        centre_rows(&mut w, "unembed.W_U", D_MODEL, D_VOCAB);
        if w.contains_key("unembed.b_U") {
            centre_rows(&mut w, "unembed.b_U", 1, D_VOCAB);
        }
    }
    if steps.has(ProcessingStep::FoldValueBiases) {
        for layer in 0..2 {
            let attn = format!("blocks.{layer}.attn");
            for row in 0..HEADS * D_HEAD {
                for d in 0..D_MODEL {
                    let moved = w[&format!("{attn}.b_V")][row]
                        * w[&format!("{attn}.W_O")][row * D_MODEL + d];
                    edit(&mut w, &format!("{attn}.b_O"))[d] += moved;
                }
            }
            edit(&mut w, &format!("{attn}.b_V")).fill(0.0);
        }
    }
    w
}

pub(super) fn edit<'a>(weights: &'a mut Weights, name: &str) -> &'a mut Vec<f64> {
    weights.get_mut(name).unwrap()
}

/// Takes the mean out of each of `rows` rows.
pub(super) fn centre_rows(w: &mut Weights, name: &str, rows: usize, columns: usize) {
    let values = edit(w, name);
    for row in 0..rows {
        let mean = (0..columns).map(|c| values[row * columns + c]).sum::<f64>() / columns as f64;
        for c in 0..columns {
            values[row * columns + c] -= mean;
        }
    }
}

fn forget(w: &mut Weights, norm: &str) {
    edit(w, &format!("{norm}.w")).fill(1.0);
    edit(w, &format!("{norm}.b")).fill(0.0);
}

/// Bias with the weight as it is, then the gain, then the mean over `d_model`.
fn fold(w: &mut Weights, norm: &str, weight: &str, bias: &str, heads: usize, out: usize) {
    let (gain, shift) = (
        w[&format!("{norm}.w")].clone(),
        w[&format!("{norm}.b")].clone(),
    );
    for head in 0..heads {
        for o in 0..out {
            let at = |d: usize| (head * D_MODEL + d) * out + o;
            let shifted: f64 = (0..D_MODEL).map(|d| shift[d] * w[weight][at(d)]).sum();
            edit(w, bias)[head * out + o] += shifted;
            let values = edit(w, weight);
            let mean = (0..D_MODEL).map(|d| gain[d] * values[at(d)]).sum::<f64>() / D_MODEL as f64;
            for d in 0..D_MODEL {
                values[at(d)] = gain[d] * values[at(d)] - mean;
            }
        }
    }
}
