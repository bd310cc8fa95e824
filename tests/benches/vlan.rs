//! Our `vlan` against the Go plugin of that name, for the same work in the same run: ADD and DEL of a VLAN link with an
//! address, one after another, in turns. On a kernel with 802.1Q.
//!
//! `PLUGIN_DIR` has our plugins, `REFERENCE_DIR` the Go plugins; `SAMPLES` says how many of each. In a virtual machine only
//! the ratio means something.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints figures, and ends at the first thing that goes wrong"
)]

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use plumb_tests::{Binaries, Container, Host, Outcome, Plugin, Value, conf, json};

/// One suite: its plugin, configuration and figures.
struct Suite {
    name: &'static str,
    plugin: Plugin,
    conf: Value,
    adds: Vec<Duration>,
    dels: Vec<Duration>,
}

impl Suite {
    fn new(name: &'static str, directory: &str, ipam: &str, id: u16, mode: Option<&str>) -> Self {
        let directory = PathBuf::from(env::var_os(directory).expect("a directory of plugins"));
        let addresses = json!([{ "address": "10.1.0.2/24" }]);
        let ipam = json!({ "type": ipam, "addresses": addresses });
        let mut conf = conf(
            "vlan",
            json!({ "master": "nic", "vlanId": id, "ipam": ipam }),
        );
        if let Some(mode) = mode {
            conf["mode"] = mode.into();
        }
        Self {
            name,
            plugin: Plugin::of(&Binaries::in_directory(&directory), "vlan"),
            conf,
            adds: Vec::new(),
            dels: Vec::new(),
        }
    }

    fn turn(&mut self, container: &Container) {
        let took = |outcome: Outcome| {
            let elapsed = outcome.elapsed;
            (elapsed, outcome.succeeds())
        };
        let (add, result) = took(self.plugin.add(container, &self.conf));
        let plugin = self.plugin.clone().previous(&result);
        let (del, _) = took(plugin.del(container, &self.conf));
        self.adds.push(add);
        self.dels.push(del);
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let samples = env::var("SAMPLES").map_or(20, |text| text.parse().expect("a number"));
    let host = Host::new();
    host.sh("ip link add nic type dummy && ip link set nic up");
    let container = host.container("c1");
    let mut suites = [
        Suite::new("plumb", "PLUGIN_DIR", "static-ipam", 1, None),
        Suite::new(
            "plumb, shared",
            "PLUGIN_DIR",
            "static-ipam",
            3,
            Some("shared"),
        ),
        Suite::new("go", "REFERENCE_DIR", "static", 2, None),
    ];
    for suite in &mut suites {
        // Modules are loaded by the first of them.
        suite.turn(&container);
        suite.adds.clear();
        suite.dels.clear();
    }
    for _ in 0..samples {
        for suite in &mut suites {
            suite.turn(&container);
        }
    }
    let medians = suites
        .iter_mut()
        .map(|suite| (suite.name, median(&mut suite.adds), median(&mut suite.dels)));
    let medians: Vec<_> = medians.collect();
    let (_, go_add, go_del) = medians[2];
    println!("vlan: median of {samples}, and how many times quicker than the Go plugin");
    for (name, add, del) in medians {
        let times = |go: Duration, ours: Duration| go.as_secs_f64() / ours.as_secs_f64();
        println!(
            "{name:<14} ADD {add:>10.3?} {:>5.1}x   DEL {del:>10.3?} {:>5.1}x",
            times(go_add, add),
            times(go_del, del)
        );
    }
}
