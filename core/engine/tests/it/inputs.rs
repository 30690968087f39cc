//! Wrong requests end in an error that says what was expected and what was found.

use tlbench_sdk::{
    DType, INPUT_IDS, Intervention, POSITION_IDS, Padding, Quantity, Target, Tensor, TraceRequest,
};

use crate::model::{Small, ask};

fn set(request: &mut TraceRequest, name: &str, tensor: Tensor) {
    request.inputs.insert(name.into(), tensor);
}

#[test]
fn wrong_requests_say_what_is_wrong() {
    let bridge = Small::new().bridge(DType::F32);
    let good = || ask(&[vec![1, 2, 3]], Padding::Right, &[]);
    let ids = |values: Vec<i64>, shape: &[usize]| Tensor::from_vec(values, shape).unwrap();
    let mut requests = Vec::new();
    let mut change = |edit: &dyn Fn(&mut TraceRequest)| {
        let mut request = good();
        edit(&mut request);
        requests.push(request);
    };
    change(&|r| set(r, INPUT_IDS, ids(vec![1, 2, 23], &[1, 3])));
    change(&|r| set(r, INPUT_IDS, ids(vec![-1, 2, 3], &[1, 3])));
    change(&|r| set(r, INPUT_IDS, ids(vec![1, 2, 3], &[3])));
    change(&|r| set(r, INPUT_IDS, ids(vec![], &[1, 0])));
    change(&|r| {
        set(
            r,
            INPUT_IDS,
            Tensor::from_vec(vec![1.0_f32; 3], &[1, 3]).unwrap(),
        )
    });
    change(&|r| set(r, POSITION_IDS, ids(vec![0, 1, 9], &[1, 3])));
    change(&|r| set(r, POSITION_IDS, ids(vec![0, 1], &[1, 2])));
    change(&|r| r.inputs.retain(|name, _| name != INPUT_IDS));
    change(&|r| r.capture.push(Quantity::hook("blocks.7.hook_resid_pre")));
    change(&|r| r.capture.push(Quantity::Generated));
    change(&|r| r.capture.push(Quantity::HookGradient("hook_embed".into())));
    change(&|r| {
        r.truth.insert(
            "hook_embed".into(),
            Tensor::from_vec(vec![0.0_f32; 3], &[1, 3, 1]).unwrap(),
        );
        r.evaluation = tlbench_sdk::Evaluation::Local;
    });
    change(&|r| {
        r.interventions.push(Intervention {
            target: Target::Hook("hook_embed".into()),
            rows: None,
            positions: Some(vec![5]),
            action: tlbench_sdk::Action::Zero,
        });
    });
    change(&|r| {
        r.interventions.push(Intervention {
            target: Target::Hook("hook_embed".into()),
            rows: None,
            positions: None,
            action: tlbench_sdk::Action::Add {
                operand: "delta".into(),
            },
        });
    });
    let messages: Vec<String> = requests
        .iter()
        .map(|r| bridge.run(r).unwrap_err().to_string())
        .collect();
    insta::assert_snapshot!(messages.join("\n"));
}
