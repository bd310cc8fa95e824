//! The routing table of a node, compared with what is expected line by line.

use serde_json::Value;

use super::super::inside::Inside;
use super::Found;
use super::command::output;

pub(super) fn routes(
    lab: &Inside,
    node: &str,
    expected: &[Vec<String>],
    show: bool,
) -> Result<Found, String> {
    let v6 = expected.iter().flatten().any(|word| word.contains(':'));
    let mut actual = table(lab, node, "-4")?;
    if v6 {
        actual.extend(
            table(lab, node, "-6")?
                .into_iter()
                .filter(|route| !link_local(route)),
        );
    }
    let text = |family: &str| -> Result<String, String> {
        let output = output(lab, node, &["ip", family, "route"].map(str::to_owned))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let mut lines = text("-4")?;
    if v6 {
        lines.push_str(&text("-6")?);
    }
    compare(expected, &actual)
        .map_err(|why| format!("routes of {node}: {why}; there are:\n{}", lines.trim_end()))?;
    let shown = show.then(|| (format!("{node}# ip route"), lines));
    Ok(Found { fact: None, shown })
}

fn table(lab: &Inside, node: &str, family: &str) -> Result<Vec<Value>, String> {
    let output = output(
        lab,
        node,
        &["ip", "-json", family, "route", "show", "table", "main"].map(str::to_owned),
    )?;
    let text = String::from_utf8_lossy(&output.stdout);
    // ip(8) prints nothing at all for an empty table of IPv6.
    let text = if text.trim().is_empty() { "[]" } else { &text };
    serde_json::from_str(text).map_err(|error| format!("ip -json route in {node}: {error}"))
}

/// What the kernel makes for every interface by itself.
fn link_local(route: &Value) -> bool {
    let to = route.get("dst").and_then(Value::as_str).unwrap_or_default();
    to.starts_with("fe80:") || to.starts_with("ff00:") || to == "multicast"
}

/// Each expected line must stand for exactly one route, and no route may be left over.
fn compare(expected: &[Vec<String>], actual: &[Value]) -> Result<(), String> {
    let mut left: Vec<&Value> = actual.iter().collect();
    let mut missing = Vec::new();
    for line in expected {
        match left.iter().position(|route| matches(line, route)) {
            Some(found) => {
                left.swap_remove(found);
            }
            None => missing.push(format!("missing: {}", line.join(" "))),
        }
    }
    missing.extend(left.iter().map(|route| format!("not expected: {route}")));
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing.join("; "))
    }
}

/// Whether a route is what a line says; words that the line leaves out may be anything.
fn matches(line: &[String], route: &Value) -> bool {
    let Some((to, pairs)) = line.split_first() else {
        return false;
    };
    let text = |key: &str| match route.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let has = |pair: &[String]| match pair {
        [word, value] => {
            let key = match word.as_str() {
                "via" => "gateway",
                "proto" => "protocol",
                "src" => "prefsrc",
                other => other,
            };
            text(key).as_ref() == Some(value)
        }
        _ => false,
    };
    // A line without `via` means a network at hand, not one behind any gateway.
    let at_hand = pairs.iter().any(|word| word == "via")
        || (text("gateway").is_none() && route.get("nexthops").is_none());
    text("dst").as_ref() == Some(to) && at_hand && pairs.chunks(2).all(has)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(lines: &[&str]) -> Vec<Vec<String>> {
        lines
            .iter()
            .map(|line| line.split(' ').map(str::to_owned).collect())
            .collect()
    }

    fn table() -> Vec<Value> {
        vec![
            json!({"dst": "default", "gateway": "192.168.102.1", "dev": "eth1", "protocol": "ospf", "metric": 20, "flags": []}),
            json!({"dst": "192.168.102.0/24", "dev": "eth1", "protocol": "kernel", "scope": "link", "prefsrc": "192.168.102.2"}),
        ]
    }

    #[test]
    fn a_line_is_compared_in_what_it_says() {
        for expected in [
            [
                "default via 192.168.102.1 dev eth1",
                "192.168.102.0/24 dev eth1",
            ],
            [
                "192.168.102.0/24 dev eth1 scope link src 192.168.102.2",
                "default via 192.168.102.1 proto ospf metric 20",
            ],
        ] {
            assert_eq!(compare(&lines(&expected), &table()), Ok(()));
        }
    }

    #[test]
    fn a_route_that_is_missing_or_different_or_too_many_is_named() {
        for (expected, why) in [
            (
                vec!["default via 192.168.102.1 dev eth1"],
                "not expected: {\"dst\":\"192.168.102.0/24\"",
            ),
            (
                vec!["default via 192.168.102.1 metric 10", "192.168.102.0/24"],
                "missing: default via 192.168.102.1 metric 10",
            ),
            (
                vec!["default dev eth1", "192.168.102.0/24"],
                "missing: default dev eth1",
            ),
            (
                vec![
                    "default via 192.168.102.1",
                    "192.168.102.0/24",
                    "10.0.0.0/8",
                ],
                "missing: 10.0.0.0/8",
            ),
        ] {
            let found = compare(&lines(&expected), &table()).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }

    #[test]
    fn one_route_does_not_stand_for_two_lines() {
        let twice = lines(&[
            "default via 192.168.102.1",
            "default dev eth1 via 192.168.102.1",
            "192.168.102.0/24",
        ]);
        assert!(compare(&twice, &table()).is_err());
    }
}
