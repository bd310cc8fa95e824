//! Guests by all the names they may have. The runtimes' commands are stand-ins here; the runtimes themselves are the
//! affair of their own tests.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use plumb_tests::json;

use super::world::{World, sleeper};

#[test]
fn a_process_a_path_and_a_name_are_guests() {
    let world = World::new();
    let c1 = world.container("c1");
    let process = sleeper(&c1);
    let pid = process.id();
    for (number, guest) in [
        "c1".to_owned(),
        "netns:c1".to_owned(),
        pid.to_string(),
        format!("pid:{pid}"),
        "/run/netns/c1".to_owned(),
        format!("/proc/{pid}/ns/net"),
    ]
    .iter()
    .enumerate()
    {
        world.attaches(&format!(
            "br1 -i e{number} {guest} 10.1.0.{}/24",
            number + 2
        ));
        assert_eq!(
            c1.addrs(&format!("e{number}"))[0],
            format!("10.1.0.{}/24", number + 2)
        );
    }
    // A name, however it is said, is one guest.
    world.does("--del c1 e0");
    world.does("--del /run/netns/c1 e1");
    assert_eq!((c1.link("e0"), c1.link("e1")), (None, None));
    world.does(&format!("--del {pid}"));
    assert_eq!(c1.link("e2"), None);
}

#[test]
fn a_process_id_that_is_anothers_by_now_is_another_guest() {
    let world = World::new();
    let c1 = world.container("c1");
    let process = sleeper(&c1);
    world.attaches(&format!("br1 {} 10.1.0.2/24", process.id()));
    drop(process);
    assert_eq!(world.list()[0]["state"], "gone");
    world.does("--gc");
    assert!(world.list().is_empty());
    // The namespace lives on under its name, and its interface is gone from it.
    assert_eq!(c1.link("eth1"), None);
}

#[test]
fn containers_are_found_by_the_commands_of_their_runtimes() {
    let world = World::new();
    for (runtime, ask, answers) in [
        ("docker", "docker", vec![("d1", DOCKER)]),
        ("podman", "podman", vec![("p1", DOCKER)]),
        ("nerdctl", "nerdctl", vec![("n1", DOCKER)]),
        (
            "ctr",
            "containerd",
            vec![("-q", "default\nmoby\n"), ("ls", TASKS)],
        ),
        ("crictl", "cri", vec![("^pod1$", "ab12\n"), ("ab12", POD)]),
        ("crictl", "cri", vec![("cd34", CONTAINER)]),
        ("lxc-info", "lxc", vec![("-H", "PID\n")]),
    ] {
        let last = answers.last().unwrap().0;
        let name = match runtime {
            "ctr" => "t1",
            "crictl" if last == "ab12" => "pod1",
            "lxc-info" => "l1",
            _ => last,
        };
        let c1 = world.container(&format!("of-{name}"));
        let process = sleeper(&c1);
        for (last, text) in answers {
            World::answer(
                runtime,
                last,
                &text.replace("PID", &process.id().to_string()),
            );
        }
        world.attaches(&format!("br1 {ask}:{name} 10.1.0.2/24"));
        assert_eq!(c1.addrs("eth1")[0], "10.1.0.2/24", "{name}");
        // Without saying where, all are asked.
        world.attaches(&format!("br1 {name} 10.1.0.2/24"));
        world.does(&format!("--del {name}"));
        assert_eq!(c1.link("eth1"), None, "{name}");
        world.sh("rm /run/answers/*");
    }
}

#[test]
fn commands_are_not_waited_for_where_their_daemons_do_not_run() {
    let mut world = World::new();
    World::answer("ctr", "-q", "default\n");
    World::answer("ctr", "ls", TASKS);
    world.without_containerd();
    for runtime in ["containerd", "cri"] {
        let said = world.fails(&format!("br1 {runtime}:t1 10.1.0.2/24"));
        let words = format!("{runtime} is not installed or does not run");
        assert!(said.contains(&words), "{said}");
    }
}

const DOCKER: &str = r#"[{"Id": "3f2b8c1d9e7a3f2b8c1d9e7a3f2b8c1d9e7a3f2b8c1d9e7a3f2b8c1d9e7a0001", "State": {"Running": true, "Pid": PID}}]"#;
const TASKS: &str = "TASK    PID    STATUS\nother   1      RUNNING\nt1      PID    RUNNING\n";
const POD: &str = r#"{"status": {"id": "ab12"}, "info": {"pid": 1, "runtimeSpec": {"linux": {"namespaces": [
    {"type": "pid"}, {"type": "network", "path": "/proc/PID/ns/net"}]}}}}"#;
const CONTAINER: &str = r#"{"status": {"id": "cd34"}, "info": {"pid": PID}}"#;

#[test]
fn docker_is_asked_by_its_socket_where_that_is_there() {
    let world = World::new();
    let c1 = world.container("c1");
    let process = sleeper(&c1);
    let id = "ab".repeat(32);
    let body = json!({"Id": id, "State": {"Pid": process.id()}}).to_string();
    let listener = UnixListener::bind("/run/docker.sock").unwrap();
    let server = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let known = ["web1", "abababababab"]
                .iter()
                .any(|name| path == format!("/containers/{name}/json"));
            let (status, body) = if known {
                ("200 OK", body.as_str())
            } else {
                ("404 Not Found", r#"{"message":"No such container"}"#)
            };
            write!(
                stream,
                "HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{body}"
            )
            .unwrap();
            asked.push(path.clone());
            if path.contains("end") {
                return asked;
            }
        }
        asked
    });
    world.attaches("br1 web1 10.1.0.2/24");
    assert_eq!(c1.addrs("eth1")[0], "10.1.0.2/24");
    assert_eq!(world.list()[0]["container"], json!(id));
    // The same container by its short id, and its short id alone for --del.
    world.attaches("br1 abababababab 10.1.0.2/24");
    world.does("--del abababababab");
    assert_eq!(c1.link("eth1"), None);
    assert!(
        world
            .fails("br1 the-end 10.1.0.2/24")
            .contains("Container the-end not found")
    );
    assert!(
        server
            .join()
            .unwrap()
            .contains(&"/containers/web1/json".to_owned())
    );
}

#[test]
fn a_container_that_is_being_started_is_waited_for() {
    let world = World::new();
    let c1 = world.container("c1");
    let process = sleeper(&c1);
    World::answer("docker", "d1.once", &DOCKER.replace("PID", "0"));
    World::answer(
        "docker",
        "d1",
        &DOCKER.replace("PID", &process.id().to_string()),
    );
    world.attaches("br1 d1 10.1.0.2/24");
    assert_eq!(c1.addrs("eth1")[0], "10.1.0.2/24");
    World::answer("docker", "d2", &DOCKER.replace("PID", "0"));
    let said = world.fails("br1 docker:d2 10.1.0.3/24");
    assert!(
        said.contains("docker inspect returned invalid PID 0"),
        "{said}"
    );
}

#[test]
fn one_name_in_two_runtimes_is_refused_unless_it_is_one_container() {
    let world = World::new();
    let [c1, c2] = ["c1", "c2"].map(|name| world.container(name));
    let (one, two) = (sleeper(&c1), sleeper(&c2));
    let as_of = |process: &plumb_tests::Process| DOCKER.replace("PID", &process.id().to_string());
    World::answer("docker", "web", &as_of(&one));
    World::answer("podman", "web", &as_of(&one));
    world.attaches("br1 web 10.1.0.2/24");
    world.does("--del web");
    World::answer("podman", "web", &as_of(&two));
    let said = world.fails("br1 web 10.1.0.2/24");
    for words in [
        "Found more than one container matching web",
        "docker:web or podman:web",
    ] {
        assert!(said.contains(words), "{said}");
    }
    world.attaches("br1 podman:web 10.1.0.2/24");
    assert_eq!(
        (c1.link("eth1"), c2.addrs("eth1")[0].as_str()),
        (None, "10.1.0.2/24")
    );
}

#[test]
fn a_guest_that_nobody_knows_is_named_with_those_who_were_asked() {
    let world = World::new();
    let before = world.state();
    let said = world.fails("br1 nobody 10.1.0.2/24");
    for words in [
        "Container nobody not found",
        "docker, podman, nerdctl, containerd, cri, lxc",
    ] {
        assert!(said.contains(words), "{said}");
    }
    for (guest, words) in [
        ("99999999", "Container 99999999 not found"),
        ("pid:99999999", "there is no process 99999999"),
        ("netns:nobody", "no network namespace nobody"),
        ("qemu:vm", "qemu is not one of pid, netns, docker"),
        ("/etc/hostname", "not a network namespace"),
    ] {
        let said = world.fails(&format!("br1 {guest} 10.1.0.2/24"));
        assert!(said.contains(words), "{guest}: {said}");
    }
    // Its own namespace is no guest: the host would be plugged into itself.
    let said = world.fails("br1 /proc/self/ns/net 10.1.0.2/24");
    assert!(said.contains("namespace"), "{said}");
    world.assert_unchanged_since(&before);
}
