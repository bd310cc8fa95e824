//! A failed ADD leaves host and container as they were, and tells the IPAM plugin. On one host for each mode: what is
//! asked for here does not depend on the kernel, and `untagged` asks for more.

use plumb_tests::{Value, json};

use super::ipam::{CAREFUL, QUICK};
use super::{World, on_nic, shared, with};

const REFUSES: &str = r#"echo '{"code":123,"msg":"no address left"}'; exit 1"#;
const VANISHES: &str = "umount -l $CNI_NETNS; rm $CNI_NETNS";

/// What the IPAM plugin does and gives, its name, and the code and words of ADD's failure.
fn failures() -> [(&'static str, Value, &'static str, u32, &'static str); 7] {
    let ips = json!([{ "address": "10.1.0.2/24" }]);
    let twice = json!([{ "address": "10.1.0.2/24" }, { "address": "10.1.0.2/24" }]);
    let beyond = json!([{ "dst": "10.9.0.0/16", "gw": "10.7.0.1" }]);
    let good = json!({ "ips": ips });
    [
        (REFUSES, good.clone(), QUICK, 123, "no address left"),
        (REFUSES, good.clone(), CAREFUL, 123, "no address left"),
        (
            "echo not JSON; exit 0",
            good.clone(),
            QUICK,
            6,
            "host-local",
        ),
        ("true", json!({}), QUICK, 7, "returned no address"),
        (
            "true",
            json!({ "ips": twice }),
            QUICK,
            100,
            "add address 10.1.0.2/24 to eth0",
        ),
        (
            "true",
            json!({ "ips": ips, "routes": beyond }),
            CAREFUL,
            100,
            "add route 10.9.0.0/16 via 10.7.0.1",
        ),
        (VANISHES, good, QUICK, 3, "vanished"),
    ]
}

#[track_caller]
fn leave_no_trace(world: &World, conf: &Value) {
    let before = world.state();
    for (number, (does, gives, ipam, code, words)) in failures().into_iter().enumerate() {
        // For which kernels before 6.14 want a passing name.
        let clashes = number % 2 == 1;
        if clashes {
            world.sh("ip link add eth0 type dummy");
        }
        let links = world.others();
        let name = format!("x{number}");
        let container = world.container(&name);
        world.ipam.gives(&name, gives);
        world.ipam.does("ADD", does);
        let calls = world.ipam.calls().len();
        let conf = with(conf.clone(), json!({ "ipam": { "type": ipam } }));
        world
            .plugin()
            .add(&container, &conf)
            .fails_with(code, words);
        let told = [format!("ADD {name} eth0"), format!("DEL {name} eth0")];
        assert_eq!(world.ipam.calls()[calls..], told, "{words}");
        assert_eq!(world.others(), links, "{words}");
        assert!(code == 3 || container.links().len() == 1, "{words}");
        if clashes {
            world.sh("ip link del eth0");
        }
    }
    world.assert_unchanged_since(&before);
}

#[test]
fn a_failed_add_of_a_container_alone_leaves_no_trace() {
    leave_no_trace(&World::new(), &on_nic(json!({ "vlanId": 5 })));
}

#[test]
fn a_failed_add_of_the_first_to_share_leaves_no_trace() {
    leave_no_trace(&World::new(), &shared(5));
}

#[test]
fn a_failed_add_beside_others_leaves_them_alone() {
    let world = World::new();
    let (c1, result) = world.attached("c1", &shared(5));
    leave_no_trace(&world, &shared(5));
    world.check(&c1, &shared(5), &result).succeeds();
}

#[test]
fn ipv6_that_is_off_and_cannot_be_switched_on_leaves_no_trace() {
    let world = World::new();
    let c1 = world.container("c1");
    c1.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    world.make_read_only("/proc/sys");
    for conf in [on_nic(json!({ "vlanId": 5 })), shared(5)] {
        let failed = world.plugin().add(&c1, &conf);
        failed.fails_with(100, "disable_ipv6 is 1 and cannot be written");
        assert!(world.others().is_empty() && c1.links().len() == 1);
    }
}

#[test]
fn a_name_that_is_taken_on_the_host() {
    let world = World::new();
    let (c2, result) = world.attached("c2", &shared(5));
    let name = result["interfaces"][0]["name"].as_str().unwrap().to_owned();
    world.del(&c2, &shared(5));
    world.sh(&format!("ip link add {name} type dummy"));
    world.refused("c1", &shared(5), 101, &name);
    world.del(&c2, &shared(5));
    world.plugin().valid([]).gc(shared(5)).succeeds();
    assert_eq!(world.others(), [name]);
}
