//! Guests that a container runtime knows: docker, podman, containerd (nerdctl, ctr), CRI pods and LXC, each asked by its
//! socket or its command line, whichever is there. All are asked at the same time: one name in two of them is an error.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::docker::docker;
use super::guest::{Found, as_id, identity};
use crate::topology::{At, Error, search_path};

/// How often a container that is there and has no process yet is asked for again, a second apart.
const RETRIES: u32 = 3;

/// Where containerd listens unless `CONTAINERD_ADDRESS` says otherwise.
const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// Where runtimes of Kubernetes listen.
const CRI: [&str; 3] = [CONTAINERD, "/run/crio/crio.sock", "/run/cri-dockerd.sock"];

/// What a runtime said of a name.
pub(super) enum Answer {
    /// It is not there to be asked.
    Absent,
    /// It does not know the name; what it said, if that may be another reason.
    Unknown(Option<String>),
    /// The container's first process; 0 where it has none.
    Process { pid: u64, id: String },
    /// The path of its network namespace.
    Namespace { path: PathBuf, id: String },
}

type Ask = fn(&str) -> Answer;

/// The runtimes, in the order in which they are named.
const RUNTIMES: [(&str, Ask); 6] = [
    ("docker", docker),
    ("podman", podman),
    ("nerdctl", nerdctl),
    ("containerd", containerd),
    ("cri", cri),
    ("lxc", lxc),
];

/// A guest of one runtime.
pub(super) fn by_runtime(kind: &str, name: &str) -> Result<Found, Error> {
    let Some((kind, ask)) = RUNTIMES.iter().find(|(known, _)| *known == kind) else {
        let known: Vec<_> = RUNTIMES.iter().map(|(known, _)| *known).collect();
        return Err(Error::new(format!(
            "{kind}:{name}: {kind} is not one of pid, netns, {}",
            known.join(", ")
        )));
    };
    let answer = settled(*ask, name);
    if matches!(answer, Answer::Absent) {
        return Err(Error::new(format!(
            "Container {name} not found: {kind} is not installed or does not run"
        )));
    }
    found(kind, name, answer)?.map_err(|said| unknown(name, &[*kind], &[said.unwrap_or_default()]))
}

/// A guest of whichever runtime knows the name.
pub(super) fn by_any(name: &str) -> Result<Found, Error> {
    let answers: Vec<_> = thread::scope(|scope| {
        let asked = RUNTIMES.map(|(kind, ask)| (kind, scope.spawn(move || settled(ask, name))));
        let answers = asked.into_iter();
        answers
            .map(|(kind, thread)| (kind, thread.join().unwrap_or(Answer::Absent)))
            .collect()
    });
    let (mut asked, mut said, mut guests) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, answer) in answers {
        if matches!(answer, Answer::Absent) {
            continue;
        }
        asked.push(kind);
        match found(kind, name, answer) {
            Ok(Ok(guest)) => guests.push((kind, guest)),
            Ok(Err(words)) => said.extend(words),
            // It is known there, and cannot be used.
            Err(error) => return Err(error),
        }
    }
    one_of(name, guests)?.ok_or_else(|| unknown(name, &asked, &said))
}

/// The one guest; podman answers for docker, nerdctl and ctr for the same daemon, and that is no doubt.
fn one_of(name: &str, guests: Vec<(&str, Found)>) -> Result<Option<Found>, Error> {
    let mut guests = guests.into_iter();
    let Some((first, guest)) = guests.next() else {
        return Ok(None);
    };
    let own = identity(&guest.netns)?;
    for (kind, other) in guests {
        if other.netns != guest.netns && identity(&other.netns)? != own {
            return Err(Error::new(format!(
                "Found more than one container matching {name}.\nSay which one is meant: {first}:{name} or {kind}:{name}"
            )));
        }
    }
    Ok(Some(guest))
}

fn unknown(name: &str, asked: &[&str], said: &[String]) -> Error {
    let by = match asked {
        [] => "and no container runtime is installed".to_owned(),
        asked => format!("and unknown to {}", asked.join(", ")),
    };
    let said: Vec<_> = said
        .iter()
        .filter(|words| !words.is_empty())
        .cloned()
        .collect();
    let said = if said.is_empty() {
        String::new()
    } else {
        format!("\n{}", said.join("\n"))
    };
    Error::new(format!(
        "Container {name} not found: no network namespace or process has that name, {by}.{said}"
    ))
}

/// A runtime's answer, once a container that is being started has its process.
fn settled(ask: Ask, name: &str) -> Answer {
    let mut answer = ask(name);
    for _ in 0..RETRIES {
        if !matches!(answer, Answer::Process { pid: 0, .. }) {
            break;
        }
        thread::sleep(Duration::from_secs(1));
        answer = ask(name);
    }
    answer
}

/// An answer as a guest; the inner error is what a runtime said that does not know it.
fn found(kind: &str, name: &str, answer: Answer) -> Result<Result<Found, Option<String>>, Error> {
    Ok(match answer {
        Answer::Absent => Err(None),
        Answer::Unknown(said) => Err(said.map(|said| format!("{kind}: {said}"))),
        Answer::Process { pid: 0, .. } => {
            return Err(Error::new(format!(
                "{kind} inspect returned invalid PID 0: container {name} is not running"
            )));
        }
        Answer::Process { pid, id } => Ok(Found {
            id,
            netns: format!("/proc/{pid}/ns/net").into(),
        }),
        Answer::Namespace { path, id } => Ok(Found { id, netns: path }),
    })
}

/// The process and the id in what docker, podman and nerdctl say of a container.
pub(super) fn process(container: &Value) -> Option<Answer> {
    Some(Answer::Process {
        pid: container.pointer("/State/Pid")?.as_u64()?,
        id: container.get("Id")?.as_str()?.to_owned(),
    })
}

fn podman(name: &str) -> Answer {
    inspect("podman", &["inspect", "--type", "container"], name)
}

fn nerdctl(name: &str) -> Answer {
    inspect("nerdctl", &["inspect", "--type", "container"], name)
}

/// What the command of a runtime that talks as docker's says.
pub(super) fn inspect(program: &str, words: &[&str], name: &str) -> Answer {
    let words = [words, &[name]].concat();
    let said = match run(program, &words) {
        Ran::Absent => return Answer::Absent,
        Ran::Failed(said) => return Answer::Unknown(complaint(&said)),
        Ran::Said(said) => said,
    };
    let containers: Option<Value> = serde_json::from_str(&said).ok();
    let container = containers.as_ref().and_then(|all| all.get(0));
    container.and_then(process).unwrap_or(Answer::Unknown(None))
}

/// The last line of what a command complained of, unless that is no more than that it knows no such container.
fn complaint(said: &str) -> Option<String> {
    let line = said.trim().lines().last()?.trim().to_owned();
    let lower = line.to_lowercase();
    let plain = [
        "no such",
        "not found",
        "no container",
        "doesn't exist",
        "does not exist",
    ];
    (!plain.iter().any(|words| lower.contains(words))).then_some(line)
}

/// By ctr: the tasks of a namespace of containerd's, or of all of them.
fn containerd(name: &str) -> Answer {
    // ctr waits for a daemon that does not listen, ten seconds and more.
    let address = std::env::var("CONTAINERD_ADDRESS");
    let address = address.as_deref().unwrap_or(CONTAINERD);
    if UnixStream::connect(address.strip_prefix("unix://").unwrap_or(address)).is_err() {
        return Answer::Absent;
    }
    let (namespaces, name) = match (name.split_once('/'), std::env::var("CONTAINERD_NAMESPACE")) {
        (Some((namespace, name)), _) => (namespace.to_owned(), name),
        (None, Ok(namespace)) => (namespace, name),
        (None, Err(_)) => match run("ctr", &["namespaces", "ls", "-q"]) {
            Ran::Absent => return Answer::Absent,
            Ran::Failed(said) => return Answer::Unknown(complaint(&said)),
            Ran::Said(said) => (said, name),
        },
    };
    for namespace in namespaces.split_whitespace() {
        let Ran::Said(tasks) = run("ctr", &["-n", namespace, "tasks", "ls"]) else {
            continue;
        };
        // TASK PID STATUS
        for task in tasks.lines().skip(1) {
            let mut words = task.split_whitespace();
            if words.next() == Some(name)
                && let Some(pid) = words.next().and_then(|pid| pid.parse().ok())
            {
                return Answer::Process {
                    pid,
                    id: as_id(name),
                };
            }
        }
    }
    Answer::Unknown(None)
}

/// By crictl: a pod by its name (`NAMESPACE/NAME` where that is not enough) or id, or a container of one by its id.
fn cri(name: &str) -> Answer {
    // crictl tries one default after the other, two seconds each, where it was not told and nobody listens.
    let told = std::env::var_os("CONTAINER_RUNTIME_ENDPOINT").is_some()
        || Path::new("/etc/crictl.yaml").exists();
    if !told && !CRI.iter().any(|socket| Path::new(socket).exists()) {
        return Answer::Absent;
    }
    let (namespace, pod) = match name.split_once('/') {
        Some((namespace, pod)) => (Some(namespace), pod),
        None => (None, name),
    };
    let exactly = format!("^{pod}$");
    let mut words = vec!["pods", "-q", "--state", "Ready", "--name", &exactly];
    words.extend(
        namespace
            .iter()
            .flat_map(|namespace| ["--namespace", namespace]),
    );
    let pods = match run("crictl", &words) {
        Ran::Absent => return Answer::Absent,
        Ran::Failed(said) => match complaint(&said) {
            None => String::new(),
            other => return Answer::Unknown(other),
        },
        Ran::Said(pods) => pods,
    };
    let pods: Vec<_> = pods.split_whitespace().collect();
    let id = match pods.as_slice() {
        [] => name,
        [pod] => pod,
        [_, _, ..] => {
            let said = format!("several pods are called {name}: say NAMESPACE/NAME or an id");
            return Answer::Unknown(Some(said));
        }
    };
    for verb in ["inspectp", "inspect"] {
        if let Ran::Said(said) = run("crictl", &[verb, id])
            && let Ok(inspected) = serde_json::from_str(&said)
            && let Some(answer) = pod_of(&inspected)
        {
            return answer;
        }
    }
    Answer::Unknown(None)
}

/// The network namespace in what crictl says of a pod or of a container.
fn pod_of(inspected: &Value) -> Option<Answer> {
    let id = inspected.pointer("/status/id")?.as_str()?.to_owned();
    let namespaces = inspected.pointer("/info/runtimeSpec/linux/namespaces");
    let namespaces = namespaces.and_then(Value::as_array).into_iter().flatten();
    let mut of_network =
        namespaces.filter(|each| each.get("type").and_then(Value::as_str) == Some("network"));
    let path = of_network.find_map(|each| each.get("path")?.as_str());
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        return Some(Answer::Namespace {
            path: path.into(),
            id,
        });
    }
    let pid = inspected.pointer("/info/pid")?.as_u64()?;
    Some(Answer::Process { pid, id })
}

/// By lxc-info.
fn lxc(name: &str) -> Answer {
    match run("lxc-info", &["-n", name, "-p", "-H"]) {
        Ran::Absent => Answer::Absent,
        Ran::Failed(said) => Answer::Unknown(complaint(&said)),
        Ran::Said(said) => match said.trim() {
            // Known, and not running.
            "" | "-1" => Answer::Process {
                pid: 0,
                id: as_id(name),
            },
            pid => pid
                .parse()
                .map_or(Answer::Unknown(None), |pid| Answer::Process {
                    pid,
                    id: as_id(name),
                }),
        },
    }
}

/// What a command did.
enum Ran {
    Absent,
    Failed(String),
    Said(String),
}

fn run(program: &str, words: &[&str]) -> Ran {
    let folders = search_path();
    let there = std::env::split_paths(&folders).any(|folder| folder.join(program).is_file());
    if !there {
        return Ran::Absent;
    }
    let mut command = Command::new(program);
    command
        .args(words)
        .env("PATH", &folders)
        .stdin(Stdio::null());
    match command.output().at(|| program.to_owned()) {
        Err(error) => Ran::Failed(error.to_string()),
        Ok(output) if output.status.success() => {
            Ran::Said(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Ran::Failed(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_known_by_its_namespace_and_a_container_by_its_process() {
        let pod = json!({"status": {"id": "ab12"}, "info": {"runtimeSpec": {"linux": {"namespaces": [
            {"type": "pid"}, {"type": "network", "path": "/run/netns/cni-1"}]}}}});
        assert!(
            matches!(pod_of(&pod), Some(Answer::Namespace { path, .. }) if path.ends_with("cni-1"))
        );
        let container = json!({"status": {"id": "cd34"}, "info": {"pid": 77}});
        assert!(matches!(
            pod_of(&container),
            Some(Answer::Process { pid: 77, .. })
        ));
        assert!(pod_of(&json!({"status": {}})).is_none());
    }

    #[test]
    fn a_complaint_is_passed_on_unless_it_says_that_there_is_no_such_container() {
        assert_eq!(complaint("Error: No such container: x\n"), None);
        assert_eq!(
            complaint("Error: inspecting object: no such container x"),
            None
        );
        let daemon = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
        assert_eq!(complaint(&format!("{daemon}\n")).as_deref(), Some(daemon));
    }
}
