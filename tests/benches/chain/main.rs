//! `make bench`: our chain of plugins against the Go plugins', for the same work in the same run.
//!
//! Every chain has a host of its own. They take turns container by container, so that whatever else the machine does
//! falls on all of them alike; between turns everything that a call left running in the background is waited for.
//! `PLUGIN_DIR` has our plugins, `REFERENCE_DIR` the Go plugins, `BENCH=quick` asks for a short run.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark prints figures, and ends at the first thing that goes wrong"
)]

mod chain;
mod measure;
mod memory;
mod table;

use std::env;
use std::path::PathBuf;

use chain::Chain;
use measure::Bench;

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    /// Containers that are attached already while the measured one comes and goes.
    levels: &'static [usize],
    /// Containers measured one after another at each level.
    samples: usize,
    /// Rounds of sixteen containers at once at each level.
    rounds: usize,
}

const FULL: Plan = Plan {
    levels: &[1, 100, 500],
    samples: 50,
    rounds: 5,
};
const QUICK: Plan = Plan {
    levels: &[1, 20],
    samples: 8,
    rounds: 1,
};

fn main() {
    let directory = |variable: &str| {
        let path = env::var_os(variable).map(PathBuf::from);
        path.unwrap_or_else(|| panic!("{variable} names no directory of plugins: run `make bench`"))
    };
    let (ours, theirs) = (directory("PLUGIN_DIR"), directory("REFERENCE_DIR"));
    let plan = if env::var_os("BENCH").is_some_and(|value| value == "quick") {
        QUICK
    } else {
        FULL
    };
    let chains = [
        Chain::ours(&ours),
        Chain::go(&theirs, "nftables"),
        Chain::go(&theirs, "iptables"),
        Chain::go_bridge_alone(&theirs),
    ];
    let mut bench = Bench::start(chains.to_vec());
    for level in plan.levels {
        bench.fill(*level);
        let alone = bench.one_by_one(plan.samples);
        table::print(
            &format!(
                "{level} attached, one after another ({} samples)",
                plan.samples
            ),
            &chains,
            &alone,
        );
        let together = bench.sixteen_at_once(plan.rounds);
        table::print(
            &format!("{level} attached, 16 at once ({} rounds)", plan.rounds),
            &chains,
            &together,
        );
    }
    table::print_memory(&chains, &bench.memory());
}
