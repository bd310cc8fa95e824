//! Containers of docker, whose daemon is asked without its command where that is possible.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::containers::{Answer, inspect, process};

/// By docker's socket, which `DOCKER_HOST` may name, else by its command.
pub(super) fn docker(name: &str) -> Answer {
    let socket = match std::env::var("DOCKER_HOST") {
        Ok(host) => host.strip_prefix("unix://").map(PathBuf::from),
        Err(_) => Some("/var/run/docker.sock".into()),
    };
    if let Some(stream) = socket.and_then(|path| UnixStream::connect(path).ok())
        && let Some(answer) = ask_socket(stream, name)
    {
        return answer;
    }
    inspect("docker", &["inspect", "--type", "container"], name)
}

/// Docker's API: `GET /containers/NAME/json`. `None` where it does not answer as one.
fn ask_socket(mut stream: UnixStream, name: &str) -> Option<Answer> {
    let plain = |each: char| each.is_ascii_alphanumeric() || "_.-".contains(each);
    if !name.chars().all(plain) {
        return Some(Answer::Unknown(None));
    }
    let patience = Some(Duration::from_secs(10));
    stream.set_read_timeout(patience).ok()?;
    // The older version of the protocol: the answer ends with the connection, and is not cut into chunks.
    let request = format!("GET /containers/{name}/json HTTP/1.0\r\nHost: docker\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?;
    let body: Value = serde_json::from_str(body).ok()?;
    match status {
        "200" => process(&body),
        "404" => Some(Answer::Unknown(None)),
        _ => Some(Answer::Unknown(
            body.get("message")
                .and_then(Value::as_str)
                .map(str::to_owned),
        )),
    }
}
