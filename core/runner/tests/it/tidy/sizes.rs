//! How large a plugin is.

use object::{Object, ObjectSegment};

use crate::support::built::plugin;

const LIMIT: u64 = 3_000_000;

#[test]
fn an_architecture_or_benchmark_takes_3_mb_at_most() {
    for name in ["tlbench_gpt2", "tlbench_forward_pass"] {
        let bytes = std::fs::read(plugin(name)).unwrap();
        let library = object::File::parse(&*bytes).unwrap();
        // What is loaded is what `strip` leaves.
        let size: u64 = library
            .segments()
            .map(|segment| segment.file_range().1)
            .sum();
        assert!(size <= LIMIT, "{name}: {size} bytes");
    }
}
