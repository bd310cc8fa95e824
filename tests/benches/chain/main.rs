//! `make bench`: our chain of plugins against the Go plugins', for the same work in the same run.
//!
//! Every chain has a host of its own. They take turns container by container, so that whatever else the machine does
//! falls on all of them alike; between turns everything that a call left running in the background is waited for. The
//! last row is the floor: what the same work costs without plugins.
//! `PLUGIN_DIR` has our plugins, `REFERENCE_DIR` the Go plugins, `BENCH=quick` asks for a short run, `BENCH=masquerade` for one
//! beside the rules of up to 5,000 containers, `BENCH=functions` for the order of functions in the plugins instead of figures.
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
mod contender;
mod floor;
mod functions;
mod measure;
mod memory;
mod rules;
mod table;
mod trace;

use std::env;
use std::path::PathBuf;

use chain::Chain;
use contender::Contender;
use floor::Floor;
use measure::Bench;

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    /// Containers that are attached already while the measured one comes and goes.
    levels: &'static [usize],
    /// Containers measured one after another at each level.
    samples: usize,
    /// At each level: how many come and go at once, in how many rounds.
    at_once: &'static [(usize, usize)],
    /// Whether the containers of a level, all but one, are rules alone.
    rules_alone: bool,
}

/// How many ports a bridge can have (`BR_MAX_PORTS`, `net/bridge/br_private.h`, less the number zero).
const BRIDGE_PORTS: usize = 1023;

const FULL: Plan = Plan {
    levels: &[1, 100, 500, 1000],
    samples: 50,
    at_once: &[(16, 4), (64, 1)],
    rules_alone: false,
};
const QUICK: Plan = Plan {
    levels: &[1, 20],
    samples: 8,
    at_once: &[(16, 1)],
    rules_alone: false,
};
const MASQUERADE: Plan = Plan {
    levels: &[10, 1000, 5000],
    samples: 11,
    at_once: &[],
    rules_alone: true,
};

fn main() {
    let directory = |variable: &str| {
        let path = env::var_os(variable).map(PathBuf::from);
        path.unwrap_or_else(|| panic!("{variable} names no directory of plugins: run `make bench`"))
    };
    let (ours, theirs) = (directory("PLUGIN_DIR"), directory("REFERENCE_DIR"));
    if env::var("BENCH").as_deref() == Ok("functions") {
        let mut bench = Bench::start(vec![Contender::Plugins(Chain::ours(&ours))]);
        bench.fill(1);
        bench.write_order();
        return;
    }
    let plan = match env::var("BENCH").as_deref() {
        Ok("quick") => QUICK,
        Ok("masquerade") => MASQUERADE,
        _ => FULL,
    };
    let mut contenders = vec![
        Contender::Plugins(Chain::ours(&ours)),
        Contender::Plugins(Chain::go(&theirs, "nftables")),
        Contender::Plugins(Chain::go(&theirs, "iptables")),
        Contender::Plugins(Chain::go_bridge_alone(&theirs)),
    ];
    if !plan.rules_alone {
        contenders.push(Contender::Floor(Floor::new()));
    }
    let mut bench = Bench::start(contenders.clone());
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
            &contenders,
            &alone,
        );
        for (count, rounds) in plan.at_once {
            if level + count > BRIDGE_PORTS {
                println!("\n{level} attached, {count} at once: more than the ports of one bridge");
                continue;
            }
            let together = bench.at_once(*count, *rounds);
            let title = format!("{level} attached, {count} at once ({rounds} rounds)");
            table::print(&title, &contenders, &together);
        }
    }
    table::print_memory(&contenders, &bench.memory());
}
