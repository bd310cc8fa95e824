//! After the host's firewall was reloaded: what is noticed, and what is put back.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use plumb_tests::{Node, Ran, Value, binaries, conf, conf_for, json};

use super::world::{INTERNET, SILENCE, UPLINK, World, kept_out, seen, seen_within};

const FILES: &str = "/var/lib/cni/masquerade";

/// The files that are kept.
fn files() -> Vec<String> {
    let listed = fs::read_dir(FILES).into_iter().flatten();
    let mut names: Vec<_> = listed
        .map(|file| file.unwrap().path().display().to_string())
        .collect();
    names.sort();
    names
}

fn reload(host: &Node) -> Ran {
    let plugin = binaries().find("masquerade");
    host.try_exec([plugin.as_os_str(), "reload".as_ref()])
}

#[track_caller]
pub(crate) fn reloaded(host: &Node, words: &str) {
    let ran = reload(host);
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(words), "{}", ran.stdout);
}

fn status(world: &World, keys: &Value) -> plumb_tests::Outcome {
    world.plugin().status(conf("masquerade", keys.clone()))
}

#[test]
fn a_flushed_ruleset_is_noticed_and_put_back() {
    let world = World::new();
    let policy = "iptables -P FORWARD DROP; ip6tables -P FORWARD DROP";
    world.host.sh(policy);
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let keys = json!({ "forward": "stateful", "iptablesAdminChainName": "CNI-ADMIN" });
    world.add(&c1, &first, keys.clone()).succeeds();
    world.add(&c2, &second, keys.clone()).succeeds();
    let other = world.plugin().previous(&second);
    let other_conf = conf_for("other", "masquerade", json!({}));
    other.add(&c2, &other_conf).succeeds();
    status(&world, &keys).succeeds();
    let before = world.host.state();

    world.host.sh(&format!("nft flush ruleset; {policy}"));
    assert_eq!(
        seen_within(SILENCE, &c1, &world.internet, INTERNET[0]),
        None
    );
    let noticed = status(&world, &keys).fails_with(51, "set net-testnet");
    let details = noticed["details"].as_str().unwrap();
    assert!(details.contains("masquerade reload"), "{details}");
    let check = world.plugin().previous(&first);
    let checked = check.check(&c1, conf("masquerade", keys.clone()));
    checked.fails_with(102, "set net-testnet");

    reloaded(&world.host, "in place: 3;");
    world.host.assert_unchanged_since(&before);
    status(&world, &keys).succeeds();
    for (outside, uplink) in INTERNET.into_iter().zip(UPLINK) {
        let seen = seen(&c1, &world.internet, outside);
        assert_eq!(seen.as_deref(), Some(uplink));
    }
    kept_out(&world.internet, &c2, "10.77.0.3");
    // What is in place is left alone.
    reloaded(&world.host, "in place: 3;");
    world.host.assert_unchanged_since(&before);
}

#[test]
fn the_next_container_brings_the_others_back() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let (c3, third) = world.with_container("c3");
    world
        .add(&c1, &first, json!({ "dropInvalid": false }))
        .succeeds();
    let other = conf_for("other", "masquerade", json!({ "forward": "stateful" }));
    world.plugin().previous(&third).add(&c3, &other).succeeds();
    world.host.sh("nft flush ruleset");
    world
        .add(&c2, &second, json!({ "dropInvalid": false }))
        .succeeds();
    let check = world.plugin().previous(&first);
    check
        .check(&c1, conf("masquerade", json!({ "dropInvalid": false })))
        .succeeds();
    world
        .plugin()
        .previous(&third)
        .check(&c3, &other)
        .succeeds();
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());

    // Some rules of a group that is still there.
    world.host.sh("nft flush chain inet plumb postrouting");
    world
        .add(&c2, &second, json!({ "dropInvalid": false }))
        .succeeds();
    check
        .check(&c1, conf("masquerade", json!({ "dropInvalid": false })))
        .succeeds();
    world
        .host
        .sh("nft flush chain inet plumb forward; nft delete chain inet plumb forward");
    status(&world, &json!({ "dropInvalid": false })).succeeds();
    let (c4, fourth) = world.with_container("c4");
    world.plugin().previous(&fourth).add(&c4, &other).succeeds();
    world
        .plugin()
        .previous(&third)
        .check(&c3, &other)
        .succeeds();
}

#[test]
fn docker_that_begins_anew_is_noticed_by_status_and_mended_by_reload() {
    let docker = include_str!("../../vectors/docker-20.10.iptables");
    let world = World::new();
    world.host.feed(["iptables-restore"], docker);
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    world.host.feed(["iptables-restore"], docker);
    status(&world, &json!({})).fails_with(51, "the jump to PLUMB-FORWARD is missing");
    assert_eq!(
        seen_within(SILENCE, &c1, &world.internet, INTERNET[0]),
        None
    );
    reloaded(&world.host, "in place: 1;");
    status(&world, &json!({})).succeeds();
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
}

#[test]
fn a_file_lives_as_long_as_its_attachment() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    world.add(&c1, &first, json!({})).succeeds();
    world.add(&c2, &second, json!({})).succeeds();
    world.add(&c2, &second, json!({})).succeeds();
    let kept = files();
    assert_eq!(kept.len(), 2, "{kept:?}");
    for file in &kept {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(
        fs::metadata(FILES).unwrap().permissions().mode() & 0o777,
        0o700
    );
    world.del(&c1).succeeds();
    assert_eq!(files().len(), 1);
    // No reload brings back what is gone.
    reloaded(&world.host, "in place: 1;");
    assert!(!world.host.ruleset().contains("testnet/c1"));
    let gc = world.plugin().valid([("c2", "eth0")]);
    gc.gc(conf("masquerade", json!({}))).succeeds();
    assert_eq!(files().len(), 1);
    world
        .plugin()
        .valid([])
        .gc(conf("masquerade", json!({})))
        .succeeds();
    assert_eq!(files(), Vec::<String>::new());
    assert_eq!(world.host.ruleset(), "");
}

#[test]
fn del_needs_no_file() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    fs::remove_dir_all(FILES).unwrap();
    world.del(&c1).succeeds();
    assert_eq!(world.host.ruleset(), "");
    reloaded(&world.host, "in place: 0;");
}

#[test]
fn a_failed_add_leaves_no_file() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let before = world.host.state();
    fs::write(FILES, "in the way").unwrap();
    let refused = world.add(&c1, &result, json!({ "restoreSysctls": true }));
    let error = refused.fails_with(5, FILES);
    assert!(error["details"].as_str().unwrap().contains("dataDir"));
    world.host.assert_unchanged_since(&before);
    world.add(&c1, &result, json!({ "dataDir": "" })).succeeds();
    world.del(&c1).fails_with(5, FILES);
    // The rules have gone all the same.
    assert_eq!(world.host.ruleset(), "");
    fs::remove_file(FILES).unwrap();
    world
        .add(&c1, &result, json!({ "dataDir": "relative" }))
        .fails_with(7, "dataDir");
}

#[test]
fn the_files_may_be_elsewhere() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "dataDir": "/run/elsewhere/deep" });
    world.add(&c1, &result, keys.clone()).succeeds();
    assert_eq!(files(), Vec::<String>::new());
    world.host.sh("nft flush ruleset");
    status(&world, &keys).fails_with(51, "set net-testnet");
    let plugin = binaries().find("masquerade");
    let ran = world.host.exec([
        plugin.as_os_str(),
        "reload".as_ref(),
        "--data-dir".as_ref(),
        "/run/elsewhere/deep".as_ref(),
    ]);
    assert!(ran.contains("in place: 1;"), "{ran}");
    status(&world, &keys).succeeds();
    let plugin = world.plugin();
    plugin.del(&c1, conf("masquerade", keys)).succeeds();
    assert_eq!(world.host.ruleset(), "");
    assert_eq!(world.host.sh("ls /run/elsewhere/deep"), "");
}

#[test]
fn what_is_of_an_earlier_boot_is_forgotten() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    world.add(&c1, &first, json!({})).succeeds();
    let [file] = &files()[..] else {
        panic!("one file")
    };
    let text = fs::read_to_string(file).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(file, text.replace(boot.trim_end(), "an-earlier-one")).unwrap();
    world.host.sh("nft flush ruleset");
    status(&world, &json!({})).succeeds();
    reloaded(&world.host, "forgotten: 1;");
    assert_eq!(world.host.ruleset(), "");
    assert_eq!(files(), Vec::<String>::new());
    // A file that says nothing sensible is reported, and does not keep the others from coming back.
    world.add(&c2, &second, json!({})).succeeds();
    let [file] = &files()[..] else {
        panic!("one file")
    };
    let broken = file.replace("-masquerade.json", "-bridge-attach.json");
    fs::write(&broken, "half a fi").unwrap();
    world.host.sh("nft flush ruleset");
    let ran = reload(&world.host);
    assert!(!ran.status.success());
    assert!(ran.stdout.contains("in place: 1;") && ran.stdout.contains("failed: 1"));
    assert!(ran.stderr.contains(&broken), "{}", ran.stderr);
    let check = world.plugin().previous(&second);
    check.check(&c2, conf("masquerade", json!({}))).succeeds();
}

#[test]
fn reload_says_how_it_is_used() {
    let world = World::new();
    let plugin = binaries().find("masquerade");
    let ran = world
        .host
        .try_exec([plugin.as_os_str(), "reload".as_ref(), "now".as_ref()]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(
        ran.stderr.contains("usage: masquerade reload"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_unit_for_systemd_is_sound() {
    let world = World::new();
    let unit = include_str!("../../../plugins/masquerade/systemd/masquerade-reload.service");
    let plugin = binaries().find("masquerade");
    let installed = unit.replace("/opt/cni/bin/masquerade", plugin.to_str().unwrap());
    assert_ne!(installed, unit);
    fs::write("/run/masquerade-reload.service", installed).unwrap();
    let ran = world.host.try_exec([
        "systemd-analyze",
        "verify",
        "/run/masquerade-reload.service",
    ]);
    assert!(ran.status.success(), "{}", ran.stderr);
    assert_eq!(ran.stderr, "");
}
