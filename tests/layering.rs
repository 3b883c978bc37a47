//! Which crate may use which, and what no pure crate may hold: proven from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Every allowed edge between crates of ours. `°` marks a pure crate.
const EDGES: &[(&str, &[&str])] = &[
    ("model°", &[]),
    ("packet°", &["model"]),
    ("api°", &["model"]),
    ("posture°", &["model"]),
    ("policy°", &["model"]),
    ("tunnel°", &["model"]),
    ("proxy°", &["model"]),
    ("auth°", &["model", "api"]),
    ("netstack°", &["model", "packet"]),
    ("names°", &["model", "packet"]),
    ("datapath°", &["model", "packet", "policy", "tunnel"]),
    ("session°", &["model", "api", "auth", "posture", "policy", "tunnel", "proxy", "datapath", "names"]),
    ("pdp°", &["model", "api", "posture"]),
    ("gate°", &["model", "api", "policy", "tunnel", "datapath"]),
    ("net", &["model", "packet"]),
    ("connector", &["session", "datapath", "netstack", "proxy", "api", "model", "net"]),
    ("gateway", &["gate", "model", "api", "packet", "policy", "tunnel", "datapath", "netstack", "net"]),
    ("broker", &["pdp", "api", "model", "posture", "net"]),
    ("ffi", &["connector", "model"]),
    ("cli", &["connector", "broker", "gateway", "net", "model", "api"]),
];

/// What reads clocks, opens sockets or waits: nothing of it stands below a pure crate.
const IMPURE: &[&str] = &["tokio", "mio", "socket2", "hyper", "reqwest", "axum", "sqlx"];

#[test]
fn only_the_edges_of_the_table_exist() {
    let graph = Graph::read();
    for (name, uses) in &graph.ours {
        let allowed = allowed(name).unwrap_or_else(|| panic!("`{name}` is not in the table of edges"));
        for used in uses {
            assert!(allowed.contains(&used.as_str()), "`{name}` may not depend on `{used}`");
        }
    }
}

#[test]
fn nothing_impure_stands_below_a_pure_crate() {
    let graph = Graph::read();
    for name in graph.ours.keys().filter(|name| is_pure(name)) {
        let below = graph.below(&format!("ztna-{name}"));
        for impure in IMPURE {
            assert!(!below.contains(*impure), "`{name}` is pure and has `{impure}` in its tree");
        }
    }
}

#[test]
fn no_second_tls_or_crypto_stack_comes_in() {
    let graph = Graph::read();
    for package in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"] {
        assert!(!graph.packages.contains(package), "`{package}` is in the tree");
    }
}

fn allowed(name: &str) -> Option<&'static [&'static str]> {
    let row = EDGES.iter().find(|(crate_name, _)| crate_name.trim_end_matches('°') == name);
    row.map(|(_, allowed)| *allowed)
}

fn is_pure(name: &str) -> bool {
    EDGES.iter().any(|(crate_name, _)| crate_name.strip_suffix('°') == Some(name))
}

/// The resolved packages and what each uses when it runs; dev-dependencies don't count.
struct Graph {
    /// Our crates without their prefix, and which of ours they use.
    ours: BTreeMap<String, Vec<String>>,
    /// Names of all packages used by ours.
    packages: BTreeSet<String>,
    names: BTreeMap<String, String>,
    uses: BTreeMap<String, Vec<String>>,
}

impl Graph {
    fn read() -> Self {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--manifest-path", manifest])
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::from_metadata(&serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON"))
    }

    fn from_metadata(metadata: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let names: BTreeMap<String, String> = list(&metadata["packages"])
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let uses: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
            .map(|node| {
                let used = list(&node["deps"]).filter(|dep| is_normal(dep)).map(|dep| text(&dep["pkg"]));
                (text(&node["id"]), used.collect())
            })
            .collect();
        let mut graph = Self { ours: BTreeMap::new(), packages: BTreeSet::new(), names, uses };
        let members: Vec<String> = list(&metadata["workspace_members"]).map(text).collect();
        for id in &members {
            let name = &graph.names[id];
            graph.packages.extend(graph.below(name));
            // `tests` and what belongs to it, `bench` and `xtask` may use anything.
            let Some(crate_name) = name
                .strip_prefix("ztna-")
                .filter(|name| !matches!(*name, "tests" | "fuzz" | "bench" | "xtask"))
            else {
                continue;
            };
            let ours = graph.uses[id].iter().filter_map(|used| graph.names[used].strip_prefix("ztna-"));
            graph.ours.insert(crate_name.to_owned(), ours.map(str::to_owned).collect());
        }
        graph
    }

    /// The names of everything below the package called `name`.
    fn below(&self, name: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&String> =
            self.names.iter().filter(|(_, n)| *n == name).map(|(id, _)| id).collect();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(&self.uses[id]);
            }
        }
        seen.into_iter().map(|id| self.names[id].clone()).collect()
    }
}

fn is_normal(dependency: &Value) -> bool {
    list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}
