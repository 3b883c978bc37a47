use crate::dir::TempDir;
use crate::program::run;

#[test]
fn the_way_it_ends_says_what_happened() {
    let dir = TempDir::new("exits");
    let state = dir.text("state");
    let gateway = dir.write("gateway.toml", &format!("state_dir = {state:?}\n"));
    let connector =
        dir.write("connector.toml", &format!("state_dir = {state:?}\nproxy.listen = \"127.0.0.1:0\"\n"));
    let (nothing, socket) = (dir.text("nothing.toml"), dir.text("nobody.sock"));
    let rows: [(&[&str], i32, &str); 23] = [
        (&["--version"], 0, ""),
        (&["--help"], 0, ""),
        (&["help", "admin", "policies"], 0, ""),
        (&["broker", "--print-default-config"], 0, ""),
        (&[], 64, "Usage"),
        (&["fly"], 64, "unrecognized subcommand"),
        (&["connect", "acme.example"], 64, "https://"),
        (&["connect", "http://acme.example"], 64, "https://"),
        (
            &["admin", "resources", "put", "wiki", "wiki.test", "--site", "berlin", "--ports", "80a"],
            64,
            "8000-8010",
        ),
        (
            &["admin", "resources", "put", "Wiki!", "wiki.test", "--site", "berlin", "--ports", "80"],
            64,
            "Wiki!",
        ),
        (&["admin", "people", "roles", "ana", "king"], 64, "owner, policy, helpdesk, auditor"),
        (&["admin", "people", "invite", "Bob", "--issuer", "https://login.example"], 64, "--subject"),
        (&["broker", "--config", &nothing], 64, "--print-default-config"),
        (&["gateway", "--config", &nothing], 64, "--print-default-config"),
        (&["connect", "--config", &nothing], 64, "--print-default-config"),
        (&["gateway", "--config", &gateway], 1, "openztna gateway enrol"),
        (&["gateway", "--config", &gateway, "enrol", "guessed"], 1, "enrolment token"),
        (&["gateway", "--config", &gateway, "status"], 4, "no gateway runs"),
        (&["status", "--config", &connector], 4, "no connector runs"),
        (&["posture", "--config", &connector], 4, "no connector runs"),
        (&["admin", "--socket", &socket, "status"], 4, &socket),
        // Without the root's hash, a copy of the keys proves nothing.
        (
            &["audit", "check", &gateway, "--org", "https://acme.example", "--keys", &gateway],
            1,
            "must end with #sha256-",
        ),
        (&["connect", "https://127.0.0.1:9", "--config", &connector, "--no-sign-in"], 3, "openztna sign-in"),
    ];
    for (args, code, said) in rows {
        let (found, out, err) = run(args, &[]);
        assert_eq!(found, code, "{args:?}: {out}{err}");
        assert!(err.contains(said), "{args:?} does not say `{said}`: {err}");
    }
}

#[test]
fn nobody_at_the_organisation_s_address_is_a_sign_in_that_did_not_work() {
    let dir = TempDir::new("nobody");
    let state = dir.text("state");
    let config =
        dir.write("connector.toml", &format!("state_dir = {state:?}\nproxy.listen = \"127.0.0.1:0\"\n"));
    let (code, _, err) = run(&["sign-in", "https://127.0.0.1:9", "--config", &config, "--no-browser"], &[]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("The sign-in did not work"), "{err}");
}
