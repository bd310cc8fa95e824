//! Many at once, and many at all.

use plumb_tests::{Container, Value, at_once, binaries, conf, json};

use super::world::{World, gone, nf_call};

/// What an attaching plugin would print for container number `number` on `br1`.
fn result(container: &Container, number: usize) -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            { "name": "br1" },
            { "name": "eth0", "sandbox": container.netns().to_str().unwrap() },
        ],
        "ips": [
            { "interface": 1, "address": format!("10.77.1.{number}/16") },
            { "interface": 1, "address": format!("fd77::1:{number:x}/64") },
        ],
    })
}

fn keys() -> Value {
    json!({ "forward": "stateful", "sources": ["10.90.0.0/16"], "restoreSysctls": true })
}

struct Crowd {
    world: World,
    members: Vec<(Container, Value)>,
}

impl Crowd {
    fn of(count: usize) -> Self {
        let world = World::new();
        world.bridge("br1", &["10.77.0.1/16", "fd77::1/64"]);
        let members = (1..=count)
            .map(|number| {
                let container = world.host.container(&format!("c{number}"));
                let result = result(&container, number);
                (container, result)
            })
            .collect();
        Self { world, members }
    }

    /// How many elements with an owner the table has.
    fn elements(&self) -> usize {
        self.world.host.ruleset().matches("\"plumb1 ").count()
    }

    /// The rules of our table, as nft lists them.
    fn rules(&self) -> Vec<String> {
        let listed = self.world.host.ruleset();
        let rules = listed.lines().map(str::trim);
        let mut rules: Vec<String> = rules
            .filter(|line| line.contains("comment \"net-"))
            .map(str::to_owned)
            .collect();
        rules.sort_unstable();
        rules
    }
}

#[test]
fn thirty_two_at_once_from_nothing_and_back_to_nothing() {
    let crowd = Crowd::of(32);
    let (world, members) = (&crowd.world, &crowd.members);
    world
        .host
        .sh("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP");
    let before = world.host.state();
    at_once(members.len(), |number| {
        let (container, result) = &members[number];
        world.add(container, result, keys()).succeeds();
    });
    assert_eq!(crowd.elements(), 64);
    let rules = crowd.rules();
    let mut unique = rules.clone();
    unique.dedup();
    assert_eq!(rules, unique);
    for program in ["iptables", "ip6tables"] {
        let listed = world.host.exec([program, "-S"]);
        assert_eq!(listed.matches(" br1 ").count(), 2, "{listed}");
        assert_eq!(listed.matches("-j PLUMB-FORWARD").count(), 1, "{listed}");
    }
    for (container, result) in members {
        let check = world.plugin().previous(result);
        check
            .check(container, conf("masquerade", keys()))
            .succeeds();
    }
    at_once(members.len(), |number| {
        let (container, result) = &members[number];
        // Half of the runtimes have lost the result.
        if number % 2 == 0 {
            world.del(container).succeeds();
        } else {
            let plugin = world.plugin().previous(result);
            plugin.del(container, conf("masquerade", keys())).succeeds();
        }
    });
    let differences = before.differences(&world.host.state());
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn coming_and_going_at_once_beside_somebody_else_loses_nothing() {
    let crowd = Crowd::of(24);
    let (world, members) = (&crowd.world, &crowd.members);
    for (container, result) in &members[..12] {
        world.add(container, result, json!({})).succeeds();
    }
    at_once(members.len() + 1, |number| {
        let Some((container, result)) = members.get(number) else {
            for round in 0..20 {
                let host = &world.host;
                host.sh(&format!(
                    "nft add table ip else{round}; nft add rule inet plumb postrouting counter comment {round} || true"
                ));
            }
            return;
        };
        if number < 12 {
            world.del(container).succeeds();
        } else {
            world.add(container, result, json!({})).succeeds();
        }
    });
    for (container, result) in &members[12..] {
        let check = world.plugin().previous(result);
        let conf = conf("masquerade", json!({}));
        check.check(container, conf).succeeds();
    }
    for (container, _) in &members[..12] {
        gone(&world.host, &format!("/{}/", container.id()));
    }
    let listed = world.host.ruleset();
    let tables = (0..20).filter(|n| listed.contains(&format!("table ip else{n} ")));
    assert_eq!(tables.count(), 20);
}

#[test]
fn beside_somebody_who_changes_iptables_nothing_is_lost() {
    let crowd = Crowd::of(16);
    let (world, members) = (&crowd.world, &crowd.members);
    world
        .host
        .sh("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP");
    let before = world.host.state();
    at_once(members.len() + 2, |number| {
        if let Some((container, result)) = members.get(number) {
            // The chain that all share goes and comes again and again.
            for _ in 0..3 {
                world
                    .add(container, result, json!({ "ipForward": false }))
                    .succeeds();
                world.del(container).succeeds();
            }
            world
                .add(container, result, json!({ "ipForward": false }))
                .succeeds();
            return;
        }
        let program = ["iptables", "ip6tables"][number - members.len()];
        for round in 0..25 {
            world.host.sh(&format!(
                "{program} -w 20 -A FORWARD -i user{round} -j ACCEPT; {program} -w 20 -I FORWARD -o user{round} -j ACCEPT"
            ));
        }
    });
    for (container, result) in members {
        let check = world.plugin().previous(result);
        check
            .check(container, conf("masquerade", json!({ "ipForward": false })))
            .succeeds();
    }
    for program in ["iptables", "ip6tables"] {
        let listed = world.host.exec([program, "-S"]);
        assert_eq!(listed.matches(" user").count(), 50, "{listed}");
        assert_eq!(listed.matches(" br1 ").count(), 2, "{listed}");
        assert_eq!(listed.matches("-j PLUMB-FORWARD").count(), 1, "{listed}");
    }
    at_once(members.len(), |number| {
        world.del(&members[number].0).succeeds();
    });
    world.host.sh("iptables -F FORWARD; ip6tables -F FORWARD");
    let differences = before.differences(&world.host.state());
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn the_last_one_goes_while_the_next_one_comes() {
    let crowd = Crowd::of(2);
    let (world, members) = (&crowd.world, &crowd.members);
    nf_call(&world.host, true);
    for _ in 0..25 {
        let [(first, one), (second, other)] = &members[..] else {
            panic!("two members")
        };
        world.add(first, one, keys()).succeeds();
        at_once(2, |number| {
            if number == 0 {
                world.del(first).succeeds();
            } else {
                world.add(second, other, keys()).succeeds();
            }
        });
        let check = world.plugin().previous(other);
        check.check(second, conf("masquerade", keys())).succeeds();
        world.del(second).succeeds();
        assert_eq!(world.host.ruleset(), "");
    }
}

/// How many netlink requests a call makes.
fn conversation(world: &World, command: &str, container: &Container, result: &Value) -> usize {
    let mut conf = conf("masquerade", keys());
    conf["prevResult"] = result.clone();
    std::fs::write("/run/conf", conf.to_string()).unwrap();
    let plugin = binaries().find("masquerade");
    let line = format!(
        "env CNI_COMMAND={command} CNI_CONTAINERID={} CNI_IFNAME=eth0 CNI_NETNS={} CNI_PATH=/nowhere \
         strace -f -q -o /run/trace -e trace=sendto {} < /run/conf",
        container.id(),
        container.netns().display(),
        plugin.display()
    );
    world.host.sh(&line);
    std::fs::read_to_string("/run/trace")
        .unwrap()
        .lines()
        .filter(|line| line.contains("sendto"))
        .count()
}

#[test]
fn the_thousandth_container_costs_what_the_second_does() {
    let crowd = Crowd::of(3);
    let (world, members) = (&crowd.world, &crowd.members);
    let (first, one) = &members[0];
    world.add(first, one, keys()).succeeds();
    let measure = || {
        ["ADD", "CHECK", "DEL"].map(|command| {
            let (container, result) = &members[1];
            conversation(world, command, container, result)
        })
    };
    let with_one = measure();
    gone(&world.host, "/c2/");

    let listed = world.host.ruleset();
    let sets = listed.lines().filter_map(|line| {
        let name = line.trim().strip_prefix("set ")?;
        name.strip_suffix(" {")
    });
    for set in sets {
        let v6 = listed
            .split_once(&format!("set {set} {{"))
            .unwrap()
            .1
            .trim_start()
            .starts_with("type ipv6");
        let elements: Vec<String> = (0..1000)
            .map(|number| {
                let (high, low) = (number / 250, number % 250 + 1);
                let address = if v6 {
                    format!("fd77::2:{number:x}")
                } else {
                    format!("10.77.{}.{low}", 100 + high)
                };
                format!("{address} comment \"plumb1 {number:016x} testnet/x{number}/eth0\"")
            })
            .collect();
        let line = format!("add element inet plumb {set} {{ {} }}", elements.join(", "));
        world.host.feed(["nft", "-f", "-"], &line);
    }
    assert!(crowd.elements() > 2000);
    let with_a_thousand = measure();
    assert_eq!(with_a_thousand, with_one);
}
