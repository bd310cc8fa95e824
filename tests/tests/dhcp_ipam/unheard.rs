//! An ADD whose runtime dies when a server has granted a lease and nobody heard of it.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plumb_tests::{Value, json, until};

use crate::family::{Family, V4, V6};
use crate::world::{SOON, alone};

#[track_caller]
fn died_before_the_answer(family: &Family) {
    let world = (family.world)();
    let _server = (family.serve)(&world);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let base = "nft add table inet mute; nft 'add chain inet mute out { type filter hook output priority 0; }'";
    let grants = format!("nft add rule inet mute out {} drop", family.grants);
    world.server.sh(&format!("{base}; {grants}"));
    let join = "echo $$ > /run/plugin.pid && exec \"$@\"";
    let mut keys = (family.keys)();
    if let Some(ipv6) = keys.get_mut("ipv6").and_then(Value::as_object_mut) {
        // Else the first message is enough for a server, which the client then knows nothing of.
        ipv6.insert("rapidCommit".into(), json!(false));
    }
    let plugin = world.plugin().under(["sh", "-c", join, "sh"]);
    std::thread::scope(|scope| {
        let add = scope.spawn(|| plugin.add(&c1, alone(keys)));
        (family.until_leases)(1);
        let pid = fs::read_to_string("/run/plugin.pid").unwrap();
        kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
        assert!(!add.join().unwrap().status.success());
    });
    (family.until_leases)(0);
    let listed = || (family.listed)(&world, "testnet/c1/eth0");
    assert!(until(SOON, || listed().is_null()), "{}", listed());
}

#[test]
fn a_runtime_that_dies_before_the_answer_leaves_no_lease_with_the_server() {
    died_before_the_answer(&V4);
}

#[test]
fn a_runtime_that_dies_before_the_answer_leaves_no_ipv6_lease_with_the_server() {
    died_before_the_answer(&V6);
}
