//! Modules of the worker in a real Python with a real torch, where one is named.

use std::process::Command;

use crate::program::SHARED;

/// transformers 4 reads a checkpoint under the same mode that makes f32 f64, and views its bytes as what they are.
#[test]
#[ignore = "needs TLBENCH_TEST_PYTHON, a Python that has torch"]
fn stored_bits_mean_the_same_where_f32_is_computed_in_f64() {
    let python = std::env::var("TLBENCH_TEST_PYTHON").expect("TLBENCH_TEST_PYTHON");
    let script = "with real_double():\n    stored = torch.ones(2, dtype=torch.int32)\n    \
         print(stored.view(torch.float32).dtype, stored.to(torch.float32).dtype, stored.view(2, 1).shape)";
    assert_eq!(
        printed(&python, "precision", script).trim(),
        "torch.float32 torch.float64 torch.Size([2, 1])"
    );
}

/// Runs a script beside a module of the worker that needs torch alone; what it printed.
fn printed(python: &str, module: &str, script: &str) -> String {
    let (_, source) = SHARED.iter().find(|(name, _)| *name == module).unwrap();
    let script = format!("{source}\n{script}");
    let output = Command::new(python).args(["-c", &script]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs TLBENCH_TEST_PYTHON, a Python that has torch"]
fn noise_is_that_of_the_sdk_bit_for_bit() {
    let python = std::env::var("TLBENCH_TEST_PYTHON").expect("TLBENCH_TEST_PYTHON");
    for seed in [0, 1, 1_234_567, 1 << 63, u64::MAX] {
        let script = format!(
            "import struct\nnumbers = torch.cat([noise({seed}, 50), projection_weights({seed}, (2, 3, 101)).flatten()])\n\
             print(struct.pack('>656d', *numbers.tolist()).hex())"
        );
        let mut numbers = tlbench_sdk::noise(seed, 50);
        numbers.extend(
            tlbench_sdk::projection_weights(seed, [2, 3, 101])
                .unwrap()
                .to_f64_vec(),
        );
        let expected: String = numbers
            .iter()
            .map(|number| format!("{:016x}", number.to_bits()))
            .collect();
        assert_eq!(
            printed(&python, "noise", &script).trim(),
            expected,
            "{seed}"
        );
    }
}
