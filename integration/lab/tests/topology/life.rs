//! What a lab that is well can do.

use std::fs;
use std::process::Stdio;

use super::bench::{Bench, SMALL, User, eventually, fails, signal, succeeds, users};

#[test]
fn a_lab_comes_up_is_entered_and_goes_without_a_trace() {
    for user in users() {
        let bench = Bench::new(user);
        let said = succeeds(&mut bench.up());
        for step in [
            "nodes host a b",
            "attach b eth0 to wire: 10.9.0.2/32",
            "process sleep in a",
            "lab small is up",
        ] {
            assert!(said.contains(step), "{step} in:\n{said}");
        }
        assert_eq!(bench.succeeds(&["exec", "a", "--", "hostname"]), "a\n");
        bench.succeeds(&["exec", "a", "--", "ping", "-c", "1", "-W", "20", "10.9.0.2"]);
        let own = bench.succeeds(&["exec", "b", "--", "ls", "/sys/class/net"]);
        assert_eq!(own.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
        let named = bench.succeeds(&["exec", "host", "--", "ip", "netns"]);
        assert!(named.contains("a ") && named.contains("b "), "{named}");
        let said = bench.succeeds(&["down"]);
        assert!(
            said.contains("detached b eth0 from wire") && said.contains("lab small is down"),
            "{said}"
        );
        assert!(
            bench
                .calls()
                .ends_with(&["DEL b eth0".into(), "DEL a eth0".into()]),
            "{:?}",
            bench.calls()
        );
        bench.assert_nothing_left();
    }
}

#[test]
fn the_host_of_a_private_lab_sees_nothing_of_it() {
    let seen = || {
        let links = succeeds(std::process::Command::new("ip").args(["-brief", "link"]));
        let ours = |line: &&str| line.contains("h-a") || line.contains("h-b");
        (
            links.lines().filter(ours).count(),
            fs::read_to_string("/proc/self/mounts").unwrap(),
        )
    };
    let before = seen();
    let bench = Bench::new(User::Caller);
    succeeds(&mut bench.up());
    assert_eq!(seen(), before);
}

#[test]
fn exec_passes_the_exit_status_and_names_what_it_does_not_find() {
    let bench = Bench::new(User::Caller);
    succeeds(&mut bench.up());
    let status = |words: &[&str]| {
        let mut arguments = vec!["exec", "a", "--"];
        arguments.extend(words);
        bench
            .topology(&arguments)
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .code()
    };
    assert_eq!(status(&["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(status(&["sh", "-c", "kill -TERM $$"]), Some(128 + 15));
    assert!(
        bench
            .fails(&["exec", "a", "--", "no-such-program"])
            .contains("no-such-program: not found in a")
    );
    assert!(
        bench
            .fails(&["exec", "c", "--", "true"])
            .contains("no node c in small; there are: a, b, host")
    );
}

#[test]
fn inspect_tells_nodes_interfaces_addresses_and_processes() {
    let bench = Bench::new(User::Caller);
    succeeds(&mut bench.up());
    let inspected = bench.inspect();
    assert_eq!(inspected["name"], "small");
    let nodes = inspected["nodes"].as_array().unwrap();
    let a = nodes.iter().find(|node| node["name"] == "a").unwrap();
    assert_eq!(a["kind"], "container");
    assert_eq!(a["interfaces"][0]["name"], "eth0");
    assert_eq!(a["interfaces"][0]["addresses"][0], "10.9.0.1/32");
    assert_eq!(
        (
            a["processes"][0]["name"].as_str(),
            a["processes"][0]["running"].as_bool()
        ),
        (Some("sleep"), Some(true))
    );
    let table = bench.succeeds(&["inspect"]);
    assert!(
        table.lines().any(|line| line.starts_with("a ")
            && line.contains("10.9.0.1/32")
            && line.ends_with("sleep")),
        "{table}"
    );
}

#[test]
fn a_second_up_is_refused_and_the_lab_stays_as_it_is() {
    let bench = Bench::new(User::Caller);
    succeeds(&mut bench.up());
    let before = bench.inspect();
    let said = fails(&mut bench.up());
    assert!(
        said.contains("lab small is up already; topology down --name small takes it down"),
        "{said}"
    );
    assert_eq!(bench.inspect(), before);
}

#[test]
fn labs_of_several_names_live_side_by_side() {
    let bench = Bench::new(User::Caller);
    let said = succeeds(bench.up().args(["--name", "one"]));
    assert!(said.contains("/topology down\n"), "{said}");
    let said = succeeds(bench.up().args(["--name", "two"]));
    for hint in [
        "exec --name two ",
        "graph --name two ",
        "> two.svg",
        "down --name two\n",
    ] {
        assert!(said.contains(hint), "{hint:?} is not in {said}");
    }
    assert!(
        bench
            .fails(&["down"])
            .contains("several labs are up, say which with --name: one, two")
    );
    bench.succeeds(&["down", "--name", "one"]);
    assert_eq!(bench.succeeds(&["exec", "b", "--", "hostname"]), "b\n");
    assert!(
        bench
            .fails(&["down", "--name", "one"])
            .contains("lab one is not up (up: two)")
    );
    bench.succeeds(&["down"]);
    bench.assert_nothing_left();
    assert!(bench.fails(&["inspect"]).contains("no lab is up"));
}

#[test]
fn check_tells_each_check_in_a_line_and_by_its_exit_status() {
    let bench = Bench::new(User::Caller);
    succeeds(bench.up().arg("--check"));
    let said = bench.succeeds(&["check"]);
    for line in [
        "ok    a reaches the host",
        "ok    a reaches b",
        "ok    the plugins find all 2 attachments as they made them",
    ] {
        assert!(said.lines().any(|each| each == line), "{line} in:\n{said}");
    }
    bench.succeeds(&["exec", "host", "--", "ip", "link", "set", "h-b", "down"]);
    let output = bench.topology(&["check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("ok    a reaches the host"), "{said}");
    assert!(
        said.contains("FAIL  a reaches b: 10.9.0.2 does not answer a"),
        "{said}"
    );
    assert!(said.contains("1 of 3 checks do not hold"), "{said}");
}

#[test]
fn a_lab_survives_its_terminal_going_away_while_it_comes_up() {
    use std::os::unix::process::CommandExt;
    for user in users() {
        let bench = Bench::new(user);
        bench.write(
            "small.toml",
            &SMALL
                .replace(
                    "ready = [\"true\"]",
                    "ready = [\"test\", \"-e\", \"/tmp/never\"]",
                )
                .replace("\"/tmp/never\"", &format!("{:?}", bench.path("labs/go"))),
        );
        let child = bench
            .up()
            .process_group(0)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the process is not started", || !bench.calls().is_empty());
        signal("HUP", &format!("-{}", child.id()));
        bench.write("labs/go", "");
        assert!(super::bench::end_of(child).success());
        fs::remove_file(bench.path("labs/go")).unwrap();
        assert_eq!(bench.succeeds(&["exec", "a", "--", "hostname"]), "a\n");
    }
}

#[test]
fn two_hosts_each_have_their_own_networks() {
    let bench = Bench::new(User::Caller);
    let text = SMALL
        .replace("[nodes.a]", "[nodes.other]\nkind = \"host\"\n[nodes.a]")
        .replace("conflist = \"wire.conflist\"", "conflist = \"wire.conflist\"\nhost = \"host\"\n[networks.far]\nconflist = \"wire.conflist\"\nhost = \"other\"")
        .replacen("node = \"b\"\nnetwork = \"wire\"", "node = \"b\"\nnetwork = \"far\"", 1)
        .replace("probes = [{ node = \"a\", ping = \"10.9.0.2\" }, ", "probes = [{ node = \"other\", ping = \"10.9.0.2\" }, ");
    bench.write("small.toml", &text);
    succeeds(bench.up().arg("--check"));
    let links = |node| bench.succeeds(&["exec", node, "--", "ip", "-brief", "link"]);
    assert!(
        links("host").contains("h-a@") && !links("host").contains("h-b"),
        "{}",
        links("host")
    );
    assert!(
        links("other").contains("h-b@") && !links("other").contains("h-a"),
        "{}",
        links("other")
    );
}

#[test]
fn files_of_a_node_are_mounted_read_only_and_for_it_alone() {
    for user in users() {
        let bench = Bench::new(user);
        bench.write("motd", "of the lab\n");
        bench.write(
            "small.toml",
            &SMALL.replace(
                "[nodes.a]",
                "[nodes.a]\nfiles = { \"/etc/hostname\" = \"motd\" }",
            ),
        );
        succeeds(&mut bench.up());
        assert_eq!(
            bench.succeeds(&["exec", "a", "--", "cat", "/etc/hostname"]),
            "of the lab\n"
        );
        assert_ne!(
            bench.succeeds(&["exec", "b", "--", "cat", "/etc/hostname"]),
            "of the lab\n"
        );
        let said = bench.fails(&["exec", "a", "--", "sh", "-c", "echo x > /etc/hostname"]);
        assert!(said.contains("Read-only"), "{said}");
    }
}
