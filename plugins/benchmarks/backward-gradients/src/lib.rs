//! Are the gradients right?
//!
//! * `backward_hooks`, `critical_backward_hooks`: the gradient at every hook.
//! * `gradient_computation`: the gradient of every parameter, against the reference and against finite differences.

mod finite_differences;
mod hook_gradients;
mod parameters;
#[cfg(test)]
mod tests;

tlbench_sdk::plugin! {
    benchmarks: [
        hook_gradients::BackwardHooks,
        hook_gradients::CriticalBackwardHooks,
        parameters::GradientComputation,
    ],
}

/// The module that all belong to.
const MODULE: &str = "backward_gradients";
