//! Labs on the real host: here a host of the test's own, since the tests leave the machine alone.

use std::process::Command;

use super::bench::{Bench, SMALL, User, eventually, fails, install, succeeds};
use super::tutorial::built;

/// Runs a script as root of a host of its own, with `up`, `TOPOLOGY` and `HOLDER` set. It is the only process in there that
/// sees the lab's links, so all that a test asks is asked in it.
fn on_a_host(bench: &Bench, script: &str) -> Command {
    // A loop of the script that waits for what does not come ends in a failure.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120", "unshare"]);
    let who: &[&str] = if super::bench::is_root() {
        &[]
    } else {
        &["--user", "--map-root-user"]
    };
    command.args(who).args(["--net", "--mount", "sh", "-euc"]);
    let topology = bench.path("topology");
    let up = format!(
        "{} up small.toml --host --plugins {}",
        topology.display(),
        bench.path("plugins").display()
    );
    let prelude =
        "mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /run; mkdir /run/netns; ip link set lo up";
    command.arg(format!(
        "{prelude}\nup='{up}'; T={}\n{script}",
        topology.display()
    ));
    command
        .current_dir(bench.path(""))
        .env("PLUMB_LABS", bench.path("labs"));
    command
}

/// The small topology without settings of the host, which are the user's own there.
fn small() -> String {
    SMALL.replace("sysctl = { \"net.ipv4.ip_forward\" = \"1\" }\n", "")
}

#[test]
fn a_lab_on_the_host_has_its_links_there_and_takes_them_away() {
    let bench = Bench::new(User::Caller);
    bench.write("small.toml", &small());
    let said = succeeds(&mut on_a_host(
        &bench,
        "echo 1 > /proc/sys/net/ipv4/ip_forward
        $up --check; ip -brief link show dev h-small-a; $T exec a -- hostname; $T exec host -- ip -brief link show dev h-small-b
        $T down; echo left; ip -brief link; echo links",
    ));
    assert!(
        said.contains("\nh-small-a@") && said.contains("\nh-small-b@") && said.contains("\na\n"),
        "{said}"
    );
    let left = said
        .split_once("left\n")
        .unwrap()
        .1
        .split_once("links\n")
        .unwrap()
        .0;
    assert_eq!(left.lines().count(), 1, "{left}");
    assert!(
        bench.calls().contains(&"ADD small-a eth0".into()),
        "{:?}",
        bench.calls()
    );
    bench.assert_nothing_left();
}

#[test]
fn after_a_crash_down_takes_away_what_the_host_still_has() {
    let bench = Bench::new(User::Caller);
    // A host's end that outlives the node: the fake plugin's veth would go with the node's namespace.
    let plugin = std::fs::read_to_string(bench.path("plugins/cable")).unwrap();
    let plugin = plugin
        .replace(
            "ip link set \"$host\" up",
            "ip link set \"$host\" up; ip link add \"b-$CNI_CONTAINERID\" type bridge",
        )
        .replace(
            "DEL) ip",
            "DEL) ip link delete \"b-$CNI_CONTAINERID\" type bridge 2> /dev/null; ip",
        );
    bench.write("plugins/cable", &plugin);
    bench.write("small.toml", &small());
    let said = succeeds(&mut on_a_host(
        &bench,
        "$up; kill -KILL $(cat $PLUMB_LABS/small/holder)
        until ! $T exec a -- true; do :; done
        ip -brief link show dev b-small-a; $T down; echo left; ip -brief link; echo links",
    ));
    assert!(said.contains("\nb-small-a "), "{said}");
    let left = said
        .split_once("left\n")
        .unwrap()
        .1
        .split_once("links\n")
        .unwrap()
        .0;
    assert_eq!(left.lines().count(), 1, "{left}");
    bench.assert_nothing_left();
}

#[test]
fn after_a_crash_down_leaves_those_alone_who_have_the_numbers_of_its_namespaces_now() {
    let bench = Bench::new(User::Caller);
    bench.write("small.toml", &small());
    succeeds(&mut on_a_host(
        &bench,
        "network() { readlink /proc/$1/ns/net | tr -dc 0-9; }
        $up; was=$($T exec a -- readlink /proc/self/ns/net | tr -dc 0-9)
        kill -KILL $(cat $PLUMB_LABS/small/holder)
        until ! $T exec a -- true; do :; done
        unshare --net sleep 1000 > /dev/null 2>&1 & other=$!
        until [ $(network $other) != $(network self) ]; do :; done
        now=$(network $other)
        # The kernel gives a number again when it likes.
        sed -i s/$was/$now/ $PLUMB_LABS/small/state.json; grep -q $now $PLUMB_LABS/small/state.json
        $T down; [ $(network $other) = $now ]; kill $other",
    ));
    bench.assert_nothing_left();
}

#[test]
fn a_failed_up_on_the_host_is_undone_there() {
    let bench = Bench::new(User::Caller);
    bench.write("small.toml", &small());
    bench.fail("ADD", "small-b");
    let said = succeeds(&mut on_a_host(
        &bench,
        "$up && exit 1; echo left; ip -brief link; echo links",
    ));
    assert!(said.contains("told to fail"), "{said}");
    let left = said
        .split_once("left\n")
        .unwrap()
        .1
        .split_once("links\n")
        .unwrap()
        .0;
    assert_eq!(left.lines().count(), 1, "{left}");
    bench.assert_nothing_left();
}

#[test]
fn namespaces_that_exist_can_be_nodes_and_stay() {
    let bench = Bench::new(User::Caller);
    let text = small()
        .replace("[nodes.a]", "[nodes.a]\njoin = { netns = \"mine\" }")
        .replace(
            "[nodes.b]",
            "[nodes.b]\njoin = { path = \"/run/netns/other\" }",
        );
    bench.write("small.toml", &text);
    let said = succeeds(&mut on_a_host(
        &bench,
        "ip netns add mine; ip netns add other; ip -n mine link set lo up
        $up; ip -n mine -brief address show dev eth0; $T exec b -- ip -brief address show dev eth0
        $T down; ip netns; ip -n mine -brief link; ip netns del mine; ip netns del other",
    ));
    assert!(
        said.contains("10.9.0.1/32") && said.contains("10.9.0.2/32"),
        "{said}"
    );
    assert!(said.lines().any(|line| line.starts_with("mine")), "{said}");
    let after = said.split_once("lab small is down").unwrap().1;
    assert!(!after.contains("eth0"), "{after}");
    bench.assert_nothing_left();
}

#[test]
fn the_host_is_used_only_when_asked_for() {
    let bench = Bench::new(User::Caller);
    bench.write(
        "small.toml",
        &small().replace("[nodes.a]", "[nodes.a]\njoin = { pid = 1 }"),
    );
    let said = fails(&mut bench.up());
    assert!(
        said.contains("nodes.a.join: existing namespaces can be joined only with --host"),
        "{said}"
    );
    bench.write("small.toml", SMALL);
    let said = fails(bench.up().arg("--host"));
    assert!(
        said.contains("nodes.host: sysctl and files are for nodes that the lab makes itself"),
        "{said}"
    );
    if super::bench::is_root() {
        let bench = Bench::new(User::Nobody);
        bench.write("small.toml", &small());
        let said = fails(bench.up().arg("--host"));
        assert!(
            said.contains("--host needs root: run the same command with sudo"),
            "{said}"
        );
    }
    bench.assert_nothing_left();
}

#[test]
fn an_interrupted_up_on_the_host_is_undone_there() {
    let bench = Bench::new(User::Caller);
    bench.write(
        "small.toml",
        &small().replace(
            "ready = [\"true\"]",
            "ready = [\"false\"]\nready-within = 60",
        ),
    );
    let calls = bench.path("plugins/calls");
    let said = succeeds(&mut on_a_host(
        &bench,
        &format!(
            "$up & up=$!; until [ $(wc -l < {0} 2> /dev/null || echo 0) = 2 ]; do :; done; kill -TERM $up; wait $up || true
            until [ ! -e $PLUMB_LABS/small ]; do :; done; echo left; ip -brief link; echo links",
            calls.display()
        ),
    ));
    let left = said
        .split_once("left\n")
        .unwrap()
        .1
        .split_once("links\n")
        .unwrap()
        .0;
    assert_eq!(left.lines().count(), 1, "{left}");
    eventually("processes are left", || bench.processes().is_empty());
    bench.assert_nothing_left();
}

/// A bench with `pipework` beside the program, and the small topology with these lines in it.
fn with_lines(lines: &str) -> Bench {
    let bench = Bench::new(User::Caller);
    let pipework = std::path::Path::new(env!("CARGO_BIN_EXE_pipework"));
    install(pipework, &bench.path("pipework"));
    for plugin in ["bridge-attach", "static-ipam"] {
        install(&built(plugin), &bench.path("plugins").join(plugin));
    }
    let lines = format!("[[pipework]]\nlines = '''\n{lines}\n'''\n");
    bench.write("small.toml", &(small() + &lines));
    bench
}

#[test]
fn what_lines_of_pipework_attach_on_the_host_is_taken_away_too() {
    let bench =
        with_lines("pipework br7 -i eth7 a 10.7.0.1/24\nip address add 10.7.0.254/24 dev br7");
    let said = succeeds(&mut on_a_host(
        &bench,
        "echo 1 > /proc/sys/net/ipv4/ip_forward
        $up --check; ip -brief address show dev br7; $T exec a -- ip -brief address show dev eth7
        $T down; echo left; ip -brief link; echo links",
    ));
    assert!(
        said.contains("10.7.0.254/24") && said.contains("10.7.0.1/24"),
        "{said}"
    );
    assert!(
        said.contains("find all 3 attachments as they made them"),
        "{said}"
    );
    let left = said.split_once("left\n").unwrap().1;
    let left = left.split_once("links\n").unwrap().0;
    assert_eq!(left.lines().count(), 1, "{left}");
    bench.assert_nothing_left();
}

#[test]
fn a_line_that_fails_is_quoted_and_undoes_the_lab() {
    let bench = with_lines("pipework br7 -i eth7 a 10.7.0.1/24\npipework br7 b 10.7.0.2\ntrue");
    let said = succeeds(&mut on_a_host(
        &bench,
        "$up && exit 1; echo left; ip -brief link; echo links",
    ));
    for words in [
        "lines of host: the last of these failed",
        "+ pipework br7 b 10.7.0.2\n",
        "The IP address should include a netmask.",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let left = said.split_once("left\n").unwrap().1;
    let left = left.split_once("links\n").unwrap().0;
    assert_eq!(left.lines().count(), 1, "{left}");
    bench.assert_nothing_left();
}

#[test]
fn without_pipework_lines_are_refused_before_anything_is_made() {
    let bench = with_lines("true");
    std::fs::remove_file(bench.path("pipework")).unwrap();
    let said = fails(&mut bench.up());
    assert!(said.contains("there is no pipework beside"), "{said}");
    bench.assert_nothing_left();
}
