//! Questions that nobody can answer, and questions without end.

use tlbench_sdk::{
    ATTENTION_MASK, Action, Benchmark, BenchmarkInfo, Check, Evaluation, INPUT_IDS, Intervention,
    Judgement, ModelInfo, PlannedRequest, PluginError, Quantity, Severity, Target, Tensor, Trace,
    TraceRequest, Verdict,
};

use crate::plans::{first, info, logits};

const HOOK: &str = "blocks.0.hook_resid_pre";

/// Asks the subject what it cannot answer.
pub(crate) struct Unanswerable;

impl Benchmark for Unanswerable {
    fn info(&self) -> BenchmarkInfo {
        info("unanswerable")
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let good = TraceRequest::new(first(model)?.request.inputs.clone(), vec![Quantity::Logits]);
        let check = |(variant, edit): (&str, Edit)| {
            let mut request = good.clone();
            edit(&mut request)?;
            Ok(Check {
                variant: variant.into(),
                requests: vec![PlannedRequest::subject(request)],
            })
        };
        EDITS.into_iter().map(check).collect()
    }

    fn judge(&self, _: &ModelInfo, _: &Check, _: &[Trace]) -> Result<Judgement, PluginError> {
        Ok(Judgement::Verdict(Verdict::new(
            Severity::Info,
            "it was answered",
        )))
    }
}

type Edit = fn(&mut TraceRequest) -> Result<(), PluginError>;

const EDITS: [(&str, Edit); 13] = [
    ("no_inputs", |request| {
        request.inputs.clear();
        Ok(())
    }),
    ("empty_input", |request| {
        let empty = Tensor::from_vec::<i64>(vec![], &[1, 0])?;
        put(request, INPUT_IDS, empty)
    }),
    ("flat_input", |request| {
        put(request, INPUT_IDS, Tensor::vector(vec![1_i64, 2]))
    }),
    ("float_input", |request| {
        let floats = Tensor::from_vec(vec![1.0_f64, 2.0], &[1, 2])?;
        put(request, INPUT_IDS, floats)
    }),
    ("unknown_token", |request| {
        let shape = request.inputs[INPUT_IDS].shape().to_vec();
        let tokens = vec![i64::MIN; shape.iter().product()];
        put(request, INPUT_IDS, Tensor::from_vec(tokens, &shape)?)
    }),
    ("short_mask", |request| {
        let mask = Tensor::from_vec(vec![1_i64], &[1, 1])?;
        put(request, ATTENTION_MASK, mask)
    }),
    ("unknown_hook", |request| {
        request.capture = vec![Quantity::hook("hook_nowhere")];
        Ok(())
    }),
    ("unknown_gradient", |request| {
        request.capture = vec![Quantity::HookGradient("hook_nowhere".into())];
        Ok(())
    }),
    ("operand_missing", |request| {
        request.interventions = vec![edit(Action::Replace {
            operand: "gone".into(),
        })];
        Ok(())
    }),
    ("operand_of_another_shape", |request| {
        request
            .operands
            .insert("other".into(), Tensor::from_vec(vec![0.0_f32; 4], &[2, 2])?);
        request.interventions = vec![edit(Action::Replace {
            operand: "other".into(),
        })];
        Ok(())
    }),
    ("operand_that_grows", |request| {
        request.operands.insert(
            "batch".into(),
            Tensor::from_vec(vec![0.0_f32; 3], &[3, 1, 1])?,
        );
        request.interventions = vec![edit(Action::Add {
            operand: "batch".into(),
        })];
        Ok(())
    }),
    ("rows_outside", |request| {
        let mut edit = edit(Action::Zero);
        edit.rows = Some(vec![usize::MAX]);
        request.interventions = vec![edit];
        Ok(())
    }),
    ("truth_of_another_shape", |request| {
        request.evaluation = Evaluation::Local;
        request
            .truth
            .insert(HOOK.into(), Tensor::from_vec(vec![0.0_f32; 4], &[2, 2])?);
        Ok(())
    }),
];

fn put(request: &mut TraceRequest, name: &str, tensor: Tensor) -> Result<(), PluginError> {
    request.inputs.insert(name.into(), tensor);
    Ok(())
}

fn edit(action: Action) -> Intervention {
    Intervention {
        target: Target::Hook(HOOK.into()),
        rows: None,
        positions: None,
        action,
    }
}

/// Always asks for more.
pub(crate) struct Endless;

impl Benchmark for Endless {
    fn info(&self) -> BenchmarkInfo {
        info("endless")
    }

    fn plan(&self, _: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let check = |variant: &str| Check {
            variant: variant.into(),
            requests: Vec::new(),
        };
        Ok(["something", "nothing"].map(check).into())
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        _: &[Trace],
    ) -> Result<Judgement, PluginError> {
        Ok(Judgement::More(match check.variant.as_str() {
            "something" => logits(first(model)?),
            _ => Vec::new(),
        }))
    }
}
