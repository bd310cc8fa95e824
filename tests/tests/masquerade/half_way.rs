//! Every step of an ADD fails once, and is the last thing the plugin does once.
//!
//! strace makes the Nth system call of a kind fail, or kills the plugin at it.

use std::collections::BTreeMap;

use plumb_tests::{Container, Ran, Value, binaries, conf, json};

use super::world::{INTERNET, UPLINK, World, gone, seen};

/// The keys that take the most steps.
fn keys() -> Value {
    json!({
        "forward": "stateful",
        "sources": ["10.90.0.0/16"],
        "restoreSysctls": true,
        "bridgeNfCall": false,
    })
}

/// Runs the plugin under strace with `what` injected into the call of number `at`.
fn traced(
    world: &World,
    command: &str,
    container: &Container,
    result: &Value,
    inject: &str,
) -> Ran {
    let mut conf = conf("masquerade", keys());
    conf["prevResult"] = result.clone();
    let variables = BTreeMap::from([
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", container.id()),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", container.netns().to_str().unwrap()),
        ("CNI_PATH", "/nowhere"),
    ]);
    let variables: Vec<String> = variables
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let plugin = binaries().find("masquerade");
    let script = format!(
        "exec env {} strace -f -q -o /dev/null -e inject={inject} {} < /run/conf",
        variables.join(" "),
        plugin.display()
    );
    std::fs::write("/run/conf", conf.to_string()).unwrap();
    world.host.try_exec(["sh", "-c", &script])
}

/// The system calls by which the plugin asks and changes.
const CALLS: [&str; 4] = ["sendto", "recvfrom", "open,openat", "write"];

/// More than an ADD makes of any of these.
const ENOUGH: usize = 200;

/// What an attachment changes on the host: the rules, and the settings.
fn traces(world: &World) -> Vec<String> {
    let names = [
        "net/ipv4/ip_forward",
        "net/ipv6/conf/all/forwarding",
        "net/bridge/bridge-nf-call-iptables",
        "net/bridge/bridge-nf-call-ip6tables",
        "net/bridge/bridge-nf-call-arptables",
    ];
    let mut traces: Vec<String> = world.host.ruleset().lines().map(str::to_owned).collect();
    traces.extend(names.map(|name| format!("{name} {:?}", world.host.sysctl(name))));
    traces
}

fn prepared() -> (World, Container, Value) {
    let world = World::new();
    world.host.sh("iptables -P FORWARD DROP; mkdir /run/plumb");
    let (c1, result) = world.with_container("c1");
    (world, c1, result)
}

#[test]
fn an_add_that_fails_anywhere_leaves_nothing() {
    for call in CALLS {
        let joined = std::thread::spawn(move || {
            let (world, c1, result) = prepared();
            let before = traces(&world);
            let mut failures = 0;
            for at in 1..ENOUGH {
                let inject = format!("{call}:error=ENOMEM:when={at}");
                let ran = traced(&world, "ADD", &c1, &result, &inject);
                if ran.status.success() {
                    world.del(&c1).succeeds();
                } else if ran.stdout.is_empty() {
                    // The answer itself could not be written: only the runtime can take the attachment back.
                    world.del(&c1).succeeds();
                } else {
                    failures += 1;
                    let error: Value = serde_json_from(&ran.stdout);
                    assert!(error["code"].as_u64().is_some(), "{error}");
                }
                assert_eq!(traces(&world), before, "{call} {at}: {}", ran.stdout);
                if ran.status.success() && at > failures + 8 {
                    break;
                }
            }
            assert!(failures > 0, "no {call} failed");
        });
        joined.join().unwrap();
    }
}

fn serde_json_from(text: &str) -> Value {
    text.parse()
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn an_add_that_is_killed_anywhere_can_be_taken_back_or_repeated() {
    for call in CALLS {
        let joined = std::thread::spawn(move || {
            let (world, c1, result) = prepared();
            let before = traces(&world);
            let mut kills = 0;
            for at in 1..ENOUGH {
                let inject = format!("{call}:signal=KILL:when={at}");
                let ran = traced(&world, "ADD", &c1, &result, &inject);
                if ran.status.success() {
                    break;
                }
                kills += 1;
                if at % 2 == 0 {
                    world.add(&c1, &result, keys()).succeeds();
                    let seen = seen(&c1, &world.internet, INTERNET[0]);
                    assert_eq!(seen.as_deref(), Some(UPLINK[0]));
                }
                world.del(&c1).succeeds();
                assert_eq!(traces(&world), before, "{call} {at}");
            }
            assert!(kills > 0, "no {call} was the last");
        });
        joined.join().unwrap();
    }
}

#[test]
fn a_del_that_is_killed_anywhere_can_be_repeated() {
    let (world, c1, result) = prepared();
    let (c2, second) = world.with_container("c2");
    let before = traces(&world);
    for others in [false, true] {
        if others {
            world.add(&c2, &second, keys()).succeeds();
        }
        for at in 1..ENOUGH {
            world.add(&c1, &result, keys()).succeeds();
            let inject = format!("sendto:signal=KILL:when={at}");
            let ran = traced(&world, "DEL", &c1, &result, &inject);
            if ran.status.success() {
                break;
            }
            world.del(&c1).succeeds();
            gone(&world.host, "/c1/");
            assert_eq!(
                world.host.ruleset().contains("plumb"),
                others || filters(&world)
            );
        }
    }
    world.del(&c2).succeeds();
    world.del(&c1).succeeds();
    assert_eq!(traces(&world), before);
}

/// Whether iptables' chain still has a rule of ours.
fn filters(world: &World) -> bool {
    world.host.sh("iptables -S FORWARD").contains("plumb")
}
