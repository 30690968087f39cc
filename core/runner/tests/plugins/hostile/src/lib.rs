//! A plugin that breaks every rule, each by something of its own.

#[path = "../../../../../../architectures/gpt2/src/adapter.rs"]
mod adapter;
mod adapters;
mod plans;
mod references;
mod requests;
mod verdicts;

use adapters::Hostile;
use references::Liar;

tlbench_sdk::plugin! {
    architectures: [
        Hostile("nan_eps", adapters::nan_eps),
        Hostile("infinite_scale", adapters::infinite_scale),
        Hostile("zero_heads", adapters::zero_heads),
        Hostile("huge_vocabulary", adapters::huge_vocabulary),
        Hostile("endless_layers", adapters::endless_layers),
        Hostile("misfit_cut", adapters::misfit_cut),
        Hostile("nameless_tensor", adapters::nameless_tensor),
        Hostile("stray_tap", adapters::stray_tap),
        Hostile("bad_pattern", adapters::bad_pattern),
        Hostile("painted_tensor", adapters::painted_tensor),
        adapters::Verbose,
    ],
    references: [
        Liar("painted_provenance", references::PAINTED),
        Liar("no_tokens", references::NO_TOKENS),
        Liar("floats_for_tokens", references::FLOATS_FOR_TOKENS),
        Liar("same_input_twice", references::SAME_INPUT_TWICE),
        Liar("shows_nothing", references::SHOWS_NOTHING),
        Liar("leaves_out", references::LEAVES_OUT),
        Liar("other_shape", references::OTHER_SHAPE),
        Liar("other_width", references::OTHER_WIDTH),
        Liar("nan_truth", references::NAN_TRUTH),
        Liar("nan_floor", references::NAN_FLOOR),
        Liar("negative_floor", references::NEGATIVE_FLOOR),
        Liar("infinite_floor", references::INFINITE_FLOOR),
        Liar("no_floor", references::NO_FLOOR),
        Liar("more_than_asked", references::MORE_THAN_ASKED),
    ],
    benchmarks: [
        plans::Planned("plans_nothing", plans::nothing),
        plans::Planned("plans_twice", plans::twice),
        plans::Planned("plans_strange_variant", plans::strange_variant),
        plans::Planned("plans_reserved_variant", plans::reserved_variant),
        plans::Planned("plans_thousands", plans::thousands),
        requests::Unanswerable,
        requests::Endless,
        verdicts::Contradicting,
        verdicts::Painting,
    ],
}
