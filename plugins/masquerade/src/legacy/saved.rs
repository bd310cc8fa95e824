//! The rules of legacy iptables as text: what `iptables-save` prints, changed in memory, and the script for
//! `iptables-restore --noflush` that makes the same changes.

use core::fmt::Write;

/// A chain with its rules, each as it is printed behind the chain's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: String,
    /// The policy of a built-in chain; `-` for others.
    pub(super) policy: String,
    pub(super) rules: Vec<String>,
}

/// A table, and what is to be done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    name: String,
    chains: Vec<Chain>,
    script: String,
}

/// The tables of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    tables: Vec<Table>,
}

impl Saved {
    /// Reads what iptables-save printed.
    pub(super) fn parse(text: &str) -> Self {
        let mut saved = Self::default();
        for line in text.lines() {
            let Some((kind, rest)) = line.split_at_checked(1) else {
                continue;
            };
            let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            match (kind, saved.tables.last_mut()) {
                ("*", _) => saved.tables.push(Table {
                    name: first.to_owned(),
                    ..Table::default()
                }),
                (":", Some(table)) => table.chains.push(Chain {
                    name: first.to_owned(),
                    policy: rest.split(' ').next().unwrap_or_default().to_owned(),
                    rules: Vec::new(),
                }),
                ("-", Some(table)) if first == "A" => {
                    let (chain, rule) = rest.split_once(' ').unwrap_or((rest, ""));
                    if let Some(chain) = table.chains.iter_mut().find(|c| c.name == chain) {
                        chain.rules.push(rule.to_owned());
                    }
                }
                _ => {}
            }
        }
        saved
    }

    /// The chains of a table.
    pub(super) fn chains(&self, table: &str) -> &[Chain] {
        let found = self.tables.iter().find(|each| each.name == table);
        found.map_or(&[], |table| &table.chains)
    }

    /// The names of the tables.
    pub(super) fn tables(&self) -> Vec<String> {
        self.tables.iter().map(|table| table.name.clone()).collect()
    }

    /// A chain, if it exists.
    pub(super) fn chain(&self, table: &str, name: &str) -> Option<&Chain> {
        self.chains(table).iter().find(|chain| chain.name == name)
    }

    /// The rules of a chain; none if it does not exist.
    pub(super) fn rules(&self, table: &str, chain: &str) -> &[String] {
        self.chain(table, chain).map_or(&[], |chain| &chain.rules)
    }

    fn table_mut(&mut self, name: &str) -> &mut Table {
        let place = self.tables.iter().position(|table| table.name == name);
        let place = place.unwrap_or(self.tables.len());
        if place == self.tables.len() {
            self.tables.push(Table {
                name: name.to_owned(),
                ..Table::default()
            });
        }
        #[expect(clippy::indexing_slicing, reason = "it is there, or was just added")]
        &mut self.tables[place]
    }

    /// Makes a chain unless it exists. One that iptables itself has is there as soon as its table is used.
    pub(super) fn ensure_chain(&mut self, table: &str, name: &str) {
        if self.chain(table, name).is_some() {
            return;
        }
        let table = self.table_mut(table);
        table.chains.push(Chain {
            name: name.to_owned(),
            policy: "-".to_owned(),
            rules: Vec::new(),
        });
        if !is_built_in(name) {
            let _ = writeln!(table.script, "-N {name}");
        }
    }

    /// Adds a rule unless the chain has it; the chain is made if it does not exist.
    pub(super) fn ensure_rule(&mut self, table: &str, chain: &str, rule: &str, place: Place) {
        self.ensure_chain(table, chain);
        let table = self.table_mut(table);
        let Some(found) = table.chains.iter_mut().find(|each| each.name == chain) else {
            return;
        };
        if found.rules.iter().any(|each| each == rule) {
            return;
        }
        match place {
            Place::First => {
                found.rules.insert(0, rule.to_owned());
                let _ = writeln!(table.script, "-I {chain} {rule}");
            }
            Place::Last => {
                found.rules.push(rule.to_owned());
                let _ = writeln!(table.script, "-A {chain} {rule}");
            }
        }
    }

    /// Deletes the rules of a chain for which it is so.
    pub(super) fn delete_rules(&mut self, table: &str, chain: &str, goes: impl Fn(&str) -> bool) {
        let table = self.table_mut(table);
        let Some(found) = table.chains.iter_mut().find(|each| each.name == chain) else {
            return;
        };
        for rule in found.rules.extract_if(.., |rule| goes(rule)) {
            let _ = writeln!(table.script, "-D {chain} {rule}");
        }
    }

    /// Deletes a chain with its rules; nothing may lead to it any more.
    pub(super) fn delete_chain(&mut self, table: &str, name: &str) {
        let table = self.table_mut(table);
        let before = table.chains.len();
        table.chains.retain(|chain| chain.name != name);
        if table.chains.len() < before {
            let _ = writeln!(table.script, "-F {name}\n-X {name}");
        }
    }

    /// What `iptables-restore --noflush` is to read; `None` when nothing was changed.
    pub(super) fn script(&self) -> Option<String> {
        let mut text = String::new();
        for table in self.tables.iter().filter(|table| !table.script.is_empty()) {
            let _ = write!(text, "*{}\n{}COMMIT\n", table.name, table.script);
        }
        (!text.is_empty()).then_some(text)
    }

    /// The lines of the script, for people: each with its table.
    pub(super) fn changes(&self) -> Vec<String> {
        let lines = |table: &Table| {
            let lines = table.script.lines();
            lines
                .map(|line| format!("{} {line}", table.name))
                .collect::<Vec<_>>()
        };
        self.tables.iter().flat_map(lines).collect()
    }
}

/// Where in its chain a rule goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    First,
    Last,
}

fn is_built_in(chain: &str) -> bool {
    ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"].contains(&chain)
}

/// The comment of a rule.
pub(super) fn comment(rule: &str) -> Option<String> {
    let (_, rest) = rule.split_once("--comment ")?;
    let Some(quoted) = rest.strip_prefix('"') else {
        return Some(rest.split(' ').next().unwrap_or_default().to_owned());
    };
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
}

/// A comment as iptables-save prints it. It must have a space in it: others are printed without quotes.
pub(super) fn commented(text: &str) -> String {
    let mut quoted = String::from("-m comment --comment \"");
    for character in text.chars() {
        if matches!(character, '"' | '\\' | '\'') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// The chain that a rule leads to, or its target.
pub(super) fn target(rule: &str) -> Option<&str> {
    let (_, rest) = rule.rsplit_once("-j ")?;
    rest.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Generated by iptables-save v1.8.9 on Sat Nov 28 09:55:38 2026
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 10.0.0.0/8 -m comment --comment \"a \\\"b\\\"\" -j MASQUERADE
COMMIT
*filter
:FORWARD DROP [0:0]
:OTHER - [0:0]
-A FORWARD -j OTHER
COMMIT
";

    #[test]
    fn changes_become_a_script() {
        let mut saved = Saved::parse(TEXT);
        assert_eq!(saved.chain("filter", "FORWARD").unwrap().policy, "DROP");
        assert_eq!(saved.script(), None);
        let rule = saved.rules("nat", "POSTROUTING")[0].clone();
        assert_eq!(comment(&rule).as_deref(), Some("a \"b\""));
        assert_eq!(target(&rule), Some("MASQUERADE"));
        assert!(rule.contains(&commented("a \"b\"")));
        saved.ensure_rule("filter", "OURS", "-j RETURN", Place::Last);
        saved.ensure_rule("filter", "OURS", "-j RETURN", Place::Last);
        saved.ensure_rule("filter", "FORWARD", "-j OURS", Place::First);
        saved.ensure_rule("raw", "PREROUTING", "-j CT --notrack", Place::First);
        saved.delete_rules("nat", "POSTROUTING", |rule| rule.contains("10.0.0.0/8"));
        assert_eq!(
            saved.script().unwrap(),
            "*nat\n-D POSTROUTING -s 10.0.0.0/8 -m comment --comment \"a \\\"b\\\"\" -j MASQUERADE\nCOMMIT\n\
             *filter\n-N OURS\n-A OURS -j RETURN\n-I FORWARD -j OURS\nCOMMIT\n\
             *raw\n-I PREROUTING -j CT --notrack\nCOMMIT\n"
        );
        let mut saved = Saved::parse(TEXT);
        saved.delete_rules("filter", "FORWARD", |_| true);
        saved.delete_chain("filter", "OTHER");
        saved.delete_chain("filter", "ABSENT");
        assert_eq!(
            saved.script().unwrap(),
            "*filter\n-D FORWARD -j OTHER\n-F OTHER\n-X OTHER\nCOMMIT\n"
        );
    }
}
