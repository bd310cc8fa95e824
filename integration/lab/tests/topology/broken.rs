//! What goes wrong while a lab comes up or stands, and what is left then: nothing.

use std::process::{Command, Stdio};

use super::bench::{Bench, SMALL, User, end_of, eventually, fails, signal, succeeds, users};

#[test]
fn a_bad_file_is_refused_with_all_its_problems_before_anything_is_made() {
    let bench = Bench::new(User::Caller);
    bench.write(
        "small.toml",
        &SMALL
            .replace("kind = \"host\"", "kind = \"hots\"")
            .replace("10.9.0.3", "10.9.0"),
    );
    let said = fails(&mut bench.up());
    assert!(
        said.contains(
            "line 7: nodes.host.kind = \"hots\": must be one of: host, container, internet"
        ),
        "{said}"
    );
    assert!(
        said.contains("ping = \"10.9.0\": must be an address"),
        "{said}"
    );
    bench.write(
        "small.toml",
        &SMALL.replace("wire.conflist", "wier.conflist").replace(
            "[nodes.host]",
            "[[needs]]\nprogram = \"no-such-program\"\npackage = \"such\"\n[nodes.host]",
        ),
    );
    let said = fails(&mut bench.up());
    assert!(
        said.contains("no-such-program is not installed: apt-get install such"),
        "{said}"
    );
    assert!(said.contains("wier.conflist: No such file"), "{said}");
    bench.write("small.toml", SMALL);
    bench.write("wire.conflist", r#"{"cniVersion": "1.0.0", "name": "wire", "plugins": [{"type": "a", "ipam": {"type": "b"}}]}"#);
    let said = fails(&mut bench.up());
    assert!(
        said.contains("plugin \"a\" is in none of") && said.contains("plugin \"b\" is in none of"),
        "{said}"
    );
    bench.assert_nothing_left();
}

#[test]
fn an_attachment_that_fails_takes_everything_with_it_and_is_named() {
    for user in users() {
        let bench = Bench::new(user);
        bench.fail("ADD", "b");
        let said = fails(&mut bench.up());
        assert!(
            said.contains("attach b eth0 to wire: cable ADD: told to fail (code 100)"),
            "{said}"
        );
        assert!(
            said.contains("the lab is not up; everything is undone"),
            "{said}"
        );
        assert_eq!(bench.calls(), ["ADD a eth0", "ADD b eth0", "DEL b eth0"]);
        bench.assert_nothing_left();
    }
}

#[test]
fn a_process_that_ends_or_is_never_ready_takes_everything_with_it_and_is_quoted() {
    for (process, expected) in [
        (
            "command = [\"sh\", \"-c\", \"echo no config; exit 3\"]\nname = \"p\"\nready = [\"false\"]",
            "process p in a ended by itself (exit status: 3); it said:\n  no config",
        ),
        (
            "command = [\"sh\", \"-c\", \"echo waiting; sleep 1000\"]\nname = \"p\"\nready = [\"false\"]\nready-within = 1",
            "process p in a: not ready after 1s: false: exit status: 1",
        ),
        (
            "command = [\"/no/such/program\"]",
            "process program in a: start /no/such/program: No such file",
        ),
    ] {
        let bench = Bench::new(User::Caller);
        bench.write(
            "small.toml",
            &SMALL.replace(
                "command = [\"sleep\", \"1000\"]\nready = [\"true\"]",
                process,
            ),
        );
        let said = fails(&mut bench.up());
        assert!(said.contains(expected), "{expected} in:\n{said}");
        bench.assert_nothing_left();
    }
}

#[test]
fn a_node_that_cannot_be_made_takes_everything_with_it_and_is_named() {
    for (setting, expected) in [
        (
            "sysctl = { \"net.ipv4.no_such\" = \"1\" }",
            "node a: write 1 to /proc/sys/net/ipv4/no_such",
        ),
        (
            "files = { \"/etc/no-such-place\" = \"small.toml\" }",
            "/etc/no-such-place: there is no such place on this machine",
        ),
    ] {
        let bench = Bench::new(User::Caller);
        bench.write(
            "small.toml",
            &SMALL.replace("[nodes.a]", &format!("[nodes.a]\n{setting}")),
        );
        let said = fails(&mut bench.up());
        assert!(said.contains(expected), "{expected} in:\n{said}");
        bench.assert_nothing_left();
    }
}

#[test]
fn a_check_of_an_early_phase_that_fails_takes_everything_with_it() {
    let bench = Bench::new(User::Caller);
    bench.write(
        "small.toml",
        &SMALL.replace("ping = \"10.9.0.254\"", "ping = \"10.9.0.253\""),
    );
    let said = fails(&mut bench.up());
    assert!(
        said.contains("check \"a reaches the host\": 10.9.0.253 does not answer a"),
        "{said}"
    );
    bench.assert_nothing_left();
}

#[test]
fn nothing_survives_a_holder_that_is_killed() {
    for user in users() {
        let bench = Bench::new(user);
        succeeds(&mut bench.up());
        signal("KILL", &bench.holder("small").to_string());
        eventually("processes are left", || bench.processes().is_empty());
        let said = bench.fails(&["exec", "a", "--", "true"]);
        assert!(
            said.contains("its holder died; topology down --name small clears it away"),
            "{said}"
        );
        bench.succeeds(&["down"]);
        bench.assert_nothing_left();
    }
}

#[test]
fn after_a_crash_a_lab_comes_up_again_without_down() {
    let bench = Bench::new(User::Caller);
    succeeds(&mut bench.up());
    signal("KILL", &bench.holder("small").to_string());
    eventually("processes are left", || bench.processes().is_empty());
    succeeds(&mut bench.up());
    assert_eq!(bench.succeeds(&["exec", "a", "--", "hostname"]), "a\n");
}

#[test]
fn an_interrupted_up_leaves_nothing() {
    for user in users() {
        for place in ["ready = [\"true\"]", "phase = \"first\"\nprobes"] {
            let bench = Bench::new(user);
            let forever = match place {
                "ready = [\"true\"]" => "ready = [\"false\"]\nready-within = 60",
                _ => {
                    "phase = \"first\"\nwithin = 60\nprobes = [{ node = \"a\", command = [\"false\"] }]\n# probes"
                }
            };
            bench.write("small.toml", &SMALL.replace(place, forever));
            let child = bench
                .up()
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            eventually("nothing is attached", || bench.calls().len() == 2);
            signal("INT", &child.id().to_string());
            assert!(!end_of(child).success());
            eventually("the lab's folder is left", || {
                std::fs::read_dir(bench.path("labs"))
                    .unwrap()
                    .next()
                    .is_none()
            });
            bench.assert_nothing_left();
        }
    }
}

#[test]
fn a_plugin_that_cannot_detach_does_not_keep_a_private_lab() {
    let bench = Bench::new(User::Caller);
    succeeds(&mut bench.up());
    bench.fail("DEL", "a");
    let said = bench.succeeds(&["down"]);
    assert!(
        said.contains("goes with its namespace: detach a eth0 from wire: cable DEL: told to fail"),
        "{said}"
    );
    bench.assert_nothing_left();
}

#[test]
fn where_the_kernel_allows_no_user_namespaces_it_is_said_with_what_to_do() {
    let bench = Bench::new(User::Caller);
    let up = bench.up();
    let words: Vec<_> = std::iter::once(up.get_program())
        .chain(up.get_args())
        .map(|word| word.to_str().unwrap())
        .collect();
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && exec {}",
        words.join(" ")
    );
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "sh", "-c", &script])
        .current_dir(bench.path(""));
    let said = fails(command.env("PLUMB_LABS", bench.path("labs")));
    assert!(
        said.contains("does not let you make private namespaces"),
        "{said}"
    );
    assert!(
        said.contains("none are allowed here: user.max_user_namespaces = 0"),
        "{said}"
    );
    bench.assert_nothing_left();
}
