//! Commands in nodes, ping(8) among them.

use std::net::IpAddr;
use std::process::{Output, Stdio};

use serde_json::Value;

use super::super::inside::Inside;
use super::Found;

/// What a command must do.
pub(super) struct Expected<'a> {
    pub(super) status: i32,
    pub(super) contains: &'a [String],
    pub(super) lacks: &'a [String],
    pub(super) json: &'a [(String, Value)],
}

/// Runs a command to its end.
pub(super) fn output(lab: &Inside, node: &str, words: &[String]) -> Result<Output, String> {
    let named = |error: &dyn std::fmt::Display| format!("{} in {node}: {error}", words.join(" "));
    let mut command = lab.command(node, words).map_err(|error| named(&error))?;
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| named(&error))
}

pub(super) fn command(
    lab: &Inside,
    node: &str,
    words: &[String],
    expected: &Expected<'_>,
    show: bool,
) -> Result<Found, String> {
    let output = output(lab, node, words)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    judge(output.status.code(), &text, &errors, expected)
        .map_err(|why| format!("{} in {node}: {why}", words.join(" ")))?;
    let shown = show.then(|| (format!("{node}# {}", words.join(" ")), text));
    Ok(Found { fact: None, shown })
}

/// Whether what a command did is what it must do.
fn judge(
    status: Option<i32>,
    output: &str,
    errors: &str,
    expected: &Expected<'_>,
) -> Result<(), String> {
    let said = || {
        format!("{}\n{}", output.trim(), errors.trim())
            .trim()
            .to_owned()
    };
    if status != Some(expected.status) {
        let status = status.map_or_else(
            || "none, a signal ended it".to_owned(),
            |status| status.to_string(),
        );
        return Err(format!(
            "exit status {status}, expected {}: {}",
            expected.status,
            said()
        ));
    }
    if let Some(lacking) = expected
        .contains
        .iter()
        .find(|part| !output.contains(part.as_str()))
    {
        return Err(format!("its output lacks {lacking:?}: {}", said()));
    }
    if let Some(unwanted) = expected
        .lacks
        .iter()
        .find(|part| output.contains(part.as_str()))
    {
        return Err(format!("its output has {unwanted:?}: {}", said()));
    }
    if expected.json.is_empty() {
        return Ok(());
    }
    let document: Value = serde_json::from_str(output)
        .map_err(|error| format!("its output is not JSON ({error}): {}", said()))?;
    for (pointer, wanted) in expected.json {
        let found = document.pointer(pointer).unwrap_or(&Value::Null);
        if found != wanted {
            return Err(format!("{pointer} is {found}, expected {wanted}"));
        }
    }
    Ok(())
}

pub(super) fn ping(lab: &Inside, node: &str, to: IpAddr, answers: bool) -> Result<Found, String> {
    let words = ["ping", "-n", "-c", "1", "-W", "1", &to.to_string()].map(str::to_owned);
    let output = output(lab, node, &words)?;
    match (output.status.code(), answers) {
        // 1: no answer; 2: the kernel knows no way to it.
        (Some(0), true) | (Some(1 | 2), false) => Ok(Found::default()),
        (Some(0), false) => Err(format!("{to} answers {node}, which it must not")),
        _ => {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            Err(format!(
                "{to} does not answer {node}: {}",
                said.trim().replace('\n', "; ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(status: i32, output: &str, json: &[(String, Value)]) -> Result<(), String> {
        let expected = Expected {
            status: 0,
            contains: &["yes".into()],
            lacks: &["no".into()],
            json,
        };
        judge(Some(status), output, "a word", &expected)
    }

    #[test]
    fn status_and_output_must_both_be_as_expected() {
        assert_eq!(judged(0, "yes", &[]), Ok(()));
        for (status, output, why) in [
            (1, "yes", "exit status 1, expected 0: yes\na word"),
            (0, "maybe", "its output lacks \"yes\""),
            (0, "yes and no", "its output has \"no\""),
        ] {
            let found = judged(status, output, &[]).unwrap_err();
            assert!(found.starts_with(why), "{found}");
        }
    }

    #[test]
    fn values_of_a_json_document_are_compared_by_pointer() {
        let cost = |cost: i64| [("/0.0.0.0~10/0/metric".to_owned(), json!(cost))];
        let output = r#"{"yes": 1, "0.0.0.0/0": [{"metric": 10}]}"#;
        assert_eq!(judged(0, output, &cost(10)), Ok(()));
        assert_eq!(
            judged(0, output, &cost(20)).unwrap_err(),
            "/0.0.0.0~10/0/metric is 10, expected 20"
        );
        assert!(
            judged(0, "yes", &cost(10))
                .unwrap_err()
                .starts_with("its output is not JSON")
        );
    }
}
