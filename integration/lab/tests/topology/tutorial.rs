//! The tutorial, end to end, with the real plugins and FRR.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use plumb_tests::patience;

use super::bench::{Bench, User, install, repository, succeeds, users};

/// Copies the tutorial and the plugins to where every user can read them.
fn prepare(bench: &Bench) {
    copy(
        &repository("conf-examples/tutorial"),
        &bench.path("tutorial"),
    );
    install(
        Path::new(env!("CARGO_BIN_EXE_pipework")),
        &bench.path("pipework"),
    );
    for plugin in ["bridge-attach", "static-ipam", "masquerade"] {
        install(&built(plugin), &bench.path("plugins").join(plugin));
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// A plugin: from `PLUGIN_DIR`, or the newer of the two builds.
pub(super) fn built(plugin: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_topology"));
    let target = program.parent().unwrap().parent().unwrap();
    let folders = match std::env::var_os("PLUGIN_DIR") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => vec![target.join("release"), target.join("debug")],
    };
    let built = folders
        .iter()
        .map(|folder| folder.join(plugin))
        .filter(|path| path.is_file());
    let newest = built.max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    newest.unwrap_or_else(|| panic!("no {plugin} in {folders:?}: run `make build` first"))
}

fn up(bench: &Bench) -> Command {
    up_of(bench, "tutorial/topology.toml")
}

fn up_of(bench: &Bench, file: &str) -> Command {
    let plugins = bench.path("plugins");
    bench.topology(&[
        "up",
        "--check",
        file,
        "--plugins",
        plugins.to_str().unwrap(),
    ])
}

#[test]
fn the_tutorial_comes_up_proves_itself_and_goes_without_a_trace() {
    // What plugins keep on disk belongs to the lab: nobody else may write there, and root's must not change.
    let kept = || fs::read_dir("/var/lib/cni").map_or(0, Iterator::count);
    let before = kept();
    for user in users() {
        let bench = Bench::new(user);
        prepare(&bench);
        let began = Instant::now();
        let said = succeeds(&mut up(&bench));
        assert!(
            began.elapsed() < Duration::from_secs(30) * patience(),
            "{:?}",
            began.elapsed()
        );
        for node in ["dockerhost", "R1", "R2", "H1"] {
            assert!(said.contains(&format!("\n{node}# ip route\n")), "{said}");
        }
        for line in [
            "ok    H1 reaches the Internet host and is seen as the WAN address (seen as 203.0.113.5)",
            "ok    the Internet host cannot open a connection to H1",
            "ok    before OSPF H1 reached R2 but not the Internet",
            "ok    OSPF multicast is on br2 only (br2 ",
        ] {
            assert!(
                said.lines().any(|each| each.starts_with(line)),
                "{line} in:\n{said}"
            );
        }
        assert!(!said.contains("FAIL"), "{said}");
        let ruleset = || bench.succeeds(&["exec", "dockerhost", "--", "nft", "list", "ruleset"]);
        assert!(ruleset().contains("snat ip to 203.0.113.5"));
        let files = ["exec", "dockerhost", "--", "ls", "/var/lib/cni/masquerade"];
        assert_eq!(bench.succeeds(&files).lines().count(), 1);
        assert_eq!(kept(), before);
        bench.runs_the_page("tutorial");
        let said = bench.succeeds(&["down"]);
        assert!(!said.contains("goes with its namespace"), "{said}");
        bench.assert_nothing_left();
    }
}

#[test]
fn the_slides_own_commands_make_the_same_lab() {
    let [plumb, typed] = ["topology.toml", "pipework.toml"].map(|file| {
        let folder = repository("conf-examples/tutorial");
        let text = fs::read_to_string(folder.join(file)).unwrap();
        plumb_lab::topology::parse(&text, &folder, "tutorial").unwrap()
    });
    assert_eq!(typed.checks, plumb.checks);
    assert_eq!(
        (typed.nodes, typed.processes),
        (plumb.nodes, plumb.processes)
    );
    for user in users() {
        let bench = Bench::new(user);
        prepare(&bench);
        let said = succeeds(&mut up_of(&bench, "tutorial/pipework.toml"));
        for line in [
            "ok    dockerhost has the routes of the last slide",
            "ok    H1 reaches the Internet host and is seen as the WAN address (seen as 203.0.113.5)",
            "ok    the Internet host cannot open a connection to H1",
            "ok    before OSPF H1 reached R2 but not the Internet",
            "ok    the plugins find all 5 attachments as they made them",
        ] {
            assert!(
                said.lines().any(|each| each.starts_with(line)),
                "{line} in:\n{said}"
            );
        }
        let nwdiag = bench.succeeds(&["graph", "--format", "nwdiag"]);
        for words in [
            "network br2",
            "address = \"192.168.102.0/24\"",
            "R1 [address = \".2 (eth1)\"]",
            "dockerhost [address = \".1 (br1)\"]",
        ] {
            assert!(nwdiag.contains(words), "{words} in:\n{nwdiag}");
        }
        // Taken down, line by line, before the namespaces go.
        let lab = bench.path("labs/tutorial-pipework");
        let said = succeeds(&mut bench.topology(&["takedown", lab.to_str().unwrap()]));
        assert!(
            said.contains("detached R1 eth1 from pipework-br1"),
            "{said}"
        );
        let links = bench.succeeds(&["exec", "dockerhost", "--", "ip", "-brief", "link"]);
        assert!(!links.contains("br1") && !links.contains("veth"), "{links}");
        bench.succeeds(&["down"]);
        bench.assert_nothing_left();
    }
}

#[test]
fn the_tutorial_passes_where_nothing_forwards_and_bridged_frames_pass_the_rules_or_not() {
    for called in ["0", "1"] {
        let bench = Bench::new(User::Caller);
        prepare(&bench);
        let path = bench.path("tutorial/topology.toml");
        let setting = |node: &str| {
            let forward = "\"net.ipv4.ip_forward\" = \"0\"";
            let call = format!("\"net.bridge.bridge-nf-call-iptables\" = \"{called}\"");
            format!("\n[nodes.{node}.sysctl]\n{forward}\n{call}\n")
        };
        let settings = ["dockerhost", "R1", "R2", "H1", "internet"].map(setting);
        let text = fs::read_to_string(&path).unwrap() + &settings.concat();
        fs::write(&path, text).unwrap();
        succeeds(&mut up(&bench));
    }
}

#[test]
fn every_attachment_that_is_undone_leaves_the_host_as_it_was() {
    let bench = Bench::new(User::Caller);
    prepare(&bench);
    let path = bench.path("tutorial/topology.toml");
    let setting = "\n[nodes.dockerhost.sysctl]\n\"net.ipv4.ip_forward\" = \"0\"\n";
    let text = fs::read_to_string(&path).unwrap() + setting;
    fs::write(&path, text).unwrap();
    succeeds(&mut up(&bench));
    // What the plugins take down is seen before the namespace goes: its state is asked for by a process inside.
    let lab = bench.path("labs/tutorial");
    succeeds(&mut bench.topology(&["takedown", lab.to_str().unwrap()]));
    let host = |words: &[&str]| {
        let mut arguments = vec!["exec", "dockerhost", "--"];
        arguments.extend(words);
        bench.succeeds(&arguments)
    };
    let forward = host(&["cat", "/proc/sys/net/ipv4/ip_forward"]);
    assert_eq!(forward.trim(), "0", "masquerade puts back what it switched");
    let links = host(&["ip", "-brief", "link"]);
    assert!(
        !links.contains("br1") && !links.contains("br2") && !links.contains("br3"),
        "{links}"
    );
    assert!(!links.contains("veth"), "{links}");
    let routes = host(&["ip", "route"]);
    assert!(!routes.contains("192.168."), "{routes}");
    super::bench::eventually("rules are left", || {
        host(&["nft", "list", "ruleset"]).is_empty()
    });
}

/// A round: a node, what breaks something there, and the checks that must notice, all of them at once.
const ROUNDS: [(&str, &str, &[&str]); 3] = [
    (
        "dockerhost",
        "nft flush ruleset; ip route add 192.168.104.0/24 via 192.168.101.2",
        &[
            "dockerhost has the routes of the last slide",
            "H1 reaches the Internet host and is seen as the WAN address",
            "the Internet host cannot open a connection to H1",
            "the plugins find all 5 attachments",
        ],
    ),
    (
        "R1",
        "vtysh -c 'conf t' -c 'interface eth1' -c 'ip ospf dead-interval minimal hello-multiplier 4' \
         -c 'router ospf' -c 'no passive-interface eth1'",
        &["OSPF multicast is on br2 only"],
    ),
    (
        "H1",
        "ip route del default; pkill ospfd",
        &[
            "R1 has them",
            "R2 has them",
            "H1 has them",
            "OSPF multicast is on br2 only",
        ],
    ),
];

#[test]
fn the_checks_notice_what_is_broken() {
    let bench = Bench::new(User::Caller);
    prepare(&bench);
    succeeds(&mut up(&bench));
    // What is broken stays so: no check need wait for it to come true.
    let kept = bench.path("labs/tutorial/topology.toml");
    let text = fs::read_to_string(&kept).unwrap();
    let impatient = text
        .replace("within = 20", "")
        .replace("seconds = 2", "seconds = 1");
    fs::write(&kept, impatient).unwrap();
    for (node, breakage, noticed) in ROUNDS {
        bench.succeeds(&["exec", node, "--", "sh", "-ec", breakage]);
        super::bench::eventually(breakage, || {
            let output = bench.topology(&["check"]).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            noticed
                .iter()
                .all(|title| said.contains(&format!("FAIL  {title}")))
        });
    }
}

#[test]
fn the_graph_shows_every_node_interface_and_address() {
    let bench = Bench::new(User::Caller);
    prepare(&bench);
    succeeds(&mut up(&bench));
    let nwdiag = bench.succeeds(&["graph", "--format", "nwdiag"]);
    let mermaid = bench.succeeds(&["graph", "--format", "mermaid"]);
    let svg = bench.succeeds(&["graph", "--format", "svg"]);
    for text in [
        "internet",
        "dockerhost",
        "R1",
        "R2",
        "H1",
        "eth1",
        "eth2",
        "br1",
        "outside-br1",
        "internal-br2",
        "inside-br3",
    ] {
        for picture in [&nwdiag, &mermaid, &svg] {
            assert!(picture.contains(text), "{text} in:\n{picture}");
        }
    }
    for bridge in ["192.168.101.0/24", "192.168.102.0/24", "192.168.103.0/24"] {
        assert!(
            nwdiag.contains(&format!("address = \"{bridge}\"")),
            "{bridge} in:\n{nwdiag}"
        );
    }
    assert!(nwdiag.contains("203.0.113.0/24"), "{nwdiag}");
    assert!(nwdiag.contains("R1 [address = \".2 (eth1)\"]"), "{nwdiag}");
    assert!(
        nwdiag.contains("dockerhost [address = \".1 (br1)\"]"),
        "{nwdiag}"
    );
    assert!(svg.starts_with("<svg") || svg.starts_with("<?xml"), "{svg}");
}
