//! `make bench`: our chain of plugins against the Go plugins', for the same work in the same run.
//!
//! Every chain has a host of its own. They take turns container by container, so that whatever else the machine does
//! falls on all of them alike; between turns everything that a call left running in the background is waited for.
//! `PLUGIN_DIR` has our plugins, `REFERENCE_DIR` the Go plugins, `BENCH=quick` asks for a short run, `BENCH=masquerade` for one
//! beside the rules of up to 5,000 containers.
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
mod rules;
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
    /// Whether the containers of a level, all but one, are rules alone.
    rules_alone: bool,
}

const FULL: Plan = Plan {
    levels: &[1, 100, 500],
    samples: 50,
    rounds: 5,
    rules_alone: false,
};
const QUICK: Plan = Plan {
    levels: &[1, 20],
    samples: 8,
    rounds: 1,
    rules_alone: false,
};
const MASQUERADE: Plan = Plan {
    levels: &[10, 1000, 5000],
    samples: 11,
    rounds: 0,
    rules_alone: true,
};

fn main() {
    let directory = |variable: &str| {
        let path = env::var_os(variable).map(PathBuf::from);
        path.unwrap_or_else(|| panic!("{variable} names no directory of plugins: run `make bench`"))
    };
    let (ours, theirs) = (directory("PLUGIN_DIR"), directory("REFERENCE_DIR"));
    let plan = match env::var("BENCH").as_deref() {
        Ok("quick") => QUICK,
        Ok("masquerade") => MASQUERADE,
        _ => FULL,
    };
    let chains = [
        Chain::ours(&ours),
        Chain::go(&theirs, "nftables"),
        Chain::go(&theirs, "iptables"),
        Chain::go_bridge_alone(&theirs),
    ];
    let mut bench = Bench::start(chains.to_vec());
    for level in plan.levels {
        if plan.rules_alone {
            bench.fill(1);
            bench.preload(*level);
        } else {
            bench.fill(*level);
        }
        let alone = bench.one_by_one(plan.samples);
        table::print(
            &format!(
                "{level} attached, one after another ({} samples)",
                plan.samples
            ),
            &chains,
            &alone,
        );
        if plan.rounds == 0 {
            continue;
        }
        let together = bench.sixteen_at_once(plan.rounds);
        table::print(
            &format!("{level} attached, 16 at once ({} rounds)", plan.rounds),
            &chains,
            &together,
        );
    }
    table::print_memory(&chains, &bench.memory());
}
