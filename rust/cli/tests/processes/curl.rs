//! `curl` at the local proxy, in each of the ways it knows.

use crate::application::Proxy;
use crate::process::{Said, run};
use crate::world::World;

/// A way to reach a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// SOCKS5, the name resolved by the proxy.
    Socks,
    /// HTTP CONNECT.
    Connect,
    /// HTTP, the address in the request's first line.
    Absolute,
}

use Way::{Absolute, Connect, Socks};

#[tokio::test]
async fn curl_reaches_what_is_granted_in_every_way_it_knows() {
    let world = World::new().await;
    let ana = world.sign_in().await;
    for way in [Socks, Connect, Absolute] {
        for host in ["wiki.test", "board.test", "WIKI.test", "wiki.test."] {
            let said = curl(&ana.proxy, way, host, &[]).await;
            let name = if host.starts_with("board") { "board" } else { "wiki" };
            assert_eq!(
                (said.code, said.out),
                (0, format!("This is the {name}.\n")),
                "{way:?} {host}: {}",
                said.err
            );
        }
    }
}

#[tokio::test]
async fn curl_without_this_run_s_password_reaches_nothing() {
    let world = World::new().await;
    let ana = world.sign_in().await;
    let stranger = Proxy { password: "0123456789abcdef0123456789abcdef".into(), ..ana.proxy.clone() };
    // SOCKS has no words for it: `97` is "proxy handshake error". With CONNECT, curl got no tunnel; else it got a page.
    let rows = [(Socks, 97, "000 000"), (Connect, 56, "000 407"), (Absolute, 0, "407 000")];
    for (way, code, statuses) in rows {
        for host in ["wiki.test", "payroll.test", "ledger.test", "127.0.0.1"] {
            let said = curl(&stranger, way, host, &["-o", "/dev/null", "-w", STATUSES]).await;
            assert_eq!((said.code, said.out.as_str()), (code, statuses), "{way:?} {host}: {}", said.err);
        }
    }
    let said = curl(&stranger, Absolute, "wiki.test", &["--fail"]).await;
    assert_eq!(said.code, 22, "{}", said.err);
}

#[tokio::test]
async fn curl_is_told_why_it_is_denied() {
    let world = World::new().await;
    let ana = world.sign_in().await;
    let rows = [(Socks, 97, "000 000"), (Connect, 56, "000 403"), (Absolute, 0, "403 000")];
    for (way, code, statuses) in rows {
        let said = curl(&ana.proxy, way, "payroll.test", &["-o", "/dev/null", "-w", STATUSES]).await;
        assert_eq!((said.code, said.out.as_str()), (code, statuses), "{way:?}: {}", said.err);
    }
    let said = curl(&ana.proxy, Socks, "payroll.test", &[]).await;
    assert!(said.err.contains("(2)"), "connection not allowed by ruleset: {}", said.err);

    let said = curl(&ana.proxy, Absolute, "payroll.test", &["-w", "\n%{content_type}"]).await;
    let (body, kind) = said.out.rsplit_once('\n').unwrap();
    assert_eq!(kind, "application/problem+json");
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"], 403, "{problem}");
    for field in ["title", "detail", "reason"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {problem}");
    }
    assert!(problem["fixes"].as_array().is_some_and(|fixes| !fixes.is_empty()), "{problem}");
}

#[tokio::test]
async fn p4_3_to_curl_what_is_hidden_is_what_does_not_exist() {
    let world = World::new().await;
    let ana = world.sign_in().await;
    let rows = [(Socks, 97), (Connect, 56), (Absolute, 0)];
    for (way, code) in rows {
        let mut answers = vec![];
        for host in ["ledger.test", "qzx7bb.test"] {
            let said = curl(&ana.proxy, way, host, &["--include", "-w", STATUSES]).await;
            assert_eq!(said.code, code, "{way:?} {host}: {}", said.err);
            answers.push((said.out.replace(host, "HOST"), said.err.replace(host, "HOST")));
        }
        assert_eq!(answers[0], answers[1], "{way:?}");
        let (out, err) = &answers[0];
        let expected = match way {
            Socks => err.contains("(4)"), // host unreachable
            Connect => out.ends_with("000 502"),
            Absolute => out.ends_with("502 000"),
        };
        assert!(expected, "{way:?}: {out} {err}");
    }
}

/// `http://HOST/` by `curl`, with no setting of this machine's.
pub(crate) async fn curl(proxy: &Proxy, way: Way, host: &str, options: &[&str]) -> Said {
    let Proxy { address, password } = proxy;
    let scheme = if way == Socks { "socks5h" } else { "http" };
    let proxy = format!("{scheme}://openztna:{password}@{address}");
    let page = if host.contains('/') { format!("http://{host}") } else { format!("http://{host}/") };
    let mut args =
        vec!["--disable", "--silent", "--show-error", "--max-time", "20", "--noproxy", "", "--proxy", &proxy];
    if way == Connect {
        args.push("--proxytunnel");
    }
    args.extend(options);
    args.push(&page);
    run("curl", &args, "").await
}

/// The application's status, and what the proxy said to CONNECT.
const STATUSES: &str = "%{http_code} %{http_connect}";
