//! What was found, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tlbench_sdk::judge::quantity_text;

use super::{Bisection, Evidence, Finding, Reproduction, Step, WrongValue};
use crate::report::printable;

/// The width of names beside their values.
const NAMES: usize = 34;

/// The first wrong operation, and how to read the file about it.
pub fn human(bisection: &Bisection) -> String {
    let mut text = String::new();
    for (who, why) in &bisection.unavailable {
        let _ = writeln!(text, "not compared with {who}: {}", printable(why));
    }
    for (input, error) in &bisection.refused {
        let error = error.to_string();
        let _ = writeln!(text, "not compared on {input}: {}", printable(&error));
    }
    let inputs = bisection.inputs.join(", ");
    let Bisection {
        model,
        subject,
        reference,
        tier,
        ..
    } = bisection;
    let _ = writeln!(
        text,
        "{model}: {subject} against {reference} (tier {}), hook by hook on {inputs}",
        tier.number()
    );
    match &bisection.finding {
        Finding::Right { values } => {
            let _ = writeln!(
                text,
                "nothing is wrong: {values} values are within rounding"
            );
        }
        Finding::Wrong(wrong) => tell(&mut text, wrong),
    }
    text
}

fn tell(text: &mut String, wrong: &WrongValue) {
    let quantity = quantity_text(&wrong.divergence.quantity);
    let reason = printable(&wrong.divergence.reason).to_string();
    let _ = writeln!(text, "first wrong: {quantity}: {reason}\n");
    for Step {
        result,
        formula,
        parameters,
    } in &wrong.operations
    {
        line(text, "operation", &format!("{result} = {formula}"));
        for (name, value) in parameters {
            line(text, &format!("  {name}"), &value.to_string());
        }
    }
    for detail in &wrong.details {
        line(text, &detail.name, printable(&detail.value).as_ref());
    }
    line(text, "input", &wrong.input);
    match &wrong.evidence {
        Evidence::File(reproduction) => read(text, reproduction),
        Evidence::Inherited => {
            text.push_str("\nno reproduction: no operation is wrong by itself on true inputs\n");
        }
        Evidence::Missing => text.push_str("\nno reproduction: there is no value to show\n"),
    }
}

fn read(text: &mut String, reproduction: &Reproduction) {
    let Reproduction {
        file,
        tensors,
        place,
        ratio,
    } = reproduction;
    line(
        text,
        "smallest part that shows it",
        &format!("{place}: error ratio {ratio:.3e}"),
    );
    let _ = writeln!(text, "\n{}", file.display());
    let width = tensors
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    for (name, shape) in tensors {
        let _ = writeln!(text, "  {name:width$}  {shape:?}");
    }
    text.push_str(
        "\nDo the operation on inputs/ and weights/ in f64. If that gives found/, the spec, and so the adapter or the config,\n\
         is wrong; if it gives expected/, the code that computes it is. In Python:\n\
         \n    from safetensors import safe_open\n    f = safe_open(\"reproduction.safetensors\", \"np\")\n    \
         print(f.metadata()[\"operations\"], {name: f.get_tensor(name) for name in f.keys()})\n",
    );
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:NAMES$} {value}");
}

/// The same for programs.
pub fn machine(bisection: &Bisection) -> String {
    let missing = bisection.unavailable.iter();
    let missing = missing.map(|(asked, reason)| json!({"reference": asked, "reason": reason}));
    let refused = bisection.refused.iter();
    let refused =
        refused.map(|(input, error)| json!({"input": input, "reason": error.to_string()}));
    let first = match &bisection.finding {
        Finding::Right { .. } => Value::Null,
        Finding::Wrong(wrong) => json_of(wrong),
    };
    let document = json!({
        "model": bisection.model,
        "subject": bisection.subject,
        "reference": bisection.reference,
        "tier": bisection.tier,
        "not_compared_with": missing.collect::<Vec<_>>(),
        "inputs": bisection.inputs,
        "not_compared_on": refused.collect::<Vec<_>>(),
        "first_wrong": first,
    });
    format!("{document:#}\n")
}

fn json_of(wrong: &WrongValue) -> Value {
    let operation = |step: &Step| {
        json!({
            "result": step.result,
            "formula": step.formula,
            "parameters": step.parameters,
        })
    };
    let file = match &wrong.evidence {
        Evidence::File(reproduction) => Some(reproduction),
        Evidence::Inherited | Evidence::Missing => None,
    };
    let reproduction = file.map(|reproduction| {
        let tensors = reproduction.tensors.iter();
        let tensors = tensors.map(|(name, shape)| json!({"name": name, "shape": shape}));
        json!({
            "file": reproduction.file,
            "place": reproduction.place,
            "error_ratio": ratio(reproduction.ratio),
            "tensors": tensors.collect::<Vec<_>>(),
        })
    });
    json!({
        "divergence": wrong.divergence,
        "input": wrong.input,
        "operations": wrong.operations.iter().map(operation).collect::<Vec<_>>(),
        "details": wrong.details,
        "reproduction": reproduction,
    })
}

/// As the rest of the report writes what is no number.
fn ratio(ratio: f64) -> Value {
    if ratio.is_finite() {
        ratio.into()
    } else {
        "inf".into()
    }
}
