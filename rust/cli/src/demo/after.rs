//! What is left for the reader to try.

use tokio::process::Command;

use super::stage::Stage;
use super::story::Probe;
use crate::stop::asked_to_stop;

/// How to go on.
pub(super) fn hint() {
    println!("\n   Go on:  --keep     everything stays up, to try with curl and a browser");
    println!("           --attack   a shell as Mallory, with what was stolen at hand");
    println!("           --browser  sign in with your own browser       --json  every figure");
}

/// Lets everything run until Ctrl-C, and says how to use it.
pub(super) async fn keep(stage: &Stage) {
    print_uses(stage).await;
    println!("\n   Everything stays up until Ctrl-C.");
    asked_to_stop().await;
}

async fn print_uses(stage: &Stage) {
    let binary = binary();
    let Ok(status) = stage.status("ana").await else { return };
    let (address, password) = (status.proxy.address, &status.proxy.password);
    let socket = stage.path("broker/admin.sock");
    println!("\n   Reach the wiki, and be refused elsewhere:");
    println!("     curl --proxy socks5h://openztna:{password}@{address} http://wiki.demo/");
    println!("     curl --proxy http://openztna:{password}@{address} http://payroll.demo/");
    println!("   With a browser, which asks for the proxy's user (openztna) and password ({password}):");
    println!("     chromium --proxy-server=http://{address} http://wiki.demo/");
    println!("   See how things stand, and change them:");
    println!("     {binary} status --config {}", stage.path("ana.toml"));
    println!("     {binary} posture --config {}", stage.path("ana.toml"));
    println!("     {binary} admin --socket {socket} policies test ana wiki");
    println!("     {binary} audit --socket {socket} verify");
    println!("   Sign another device in, as ana with {}:", stage.password.expose());
    println!("     export OPENZTNA_CONNECTOR_PROXY__LISTEN=127.0.0.1:0   # a port of its own");
    println!("     {binary} connect '{}' --state-dir {}", stage.org, stage.path("another"));
    println!("   It waits until somebody lets it in:");
    println!("     {binary} admin --socket {socket} devices list");
    println!("     {binary} admin --socket {socket} devices admit <its id>");
    println!(
        "   (Nothing is open there unless its disk really is encrypted: only Ana's first device has simulated facts.)"
    );
    println!("   Stop all that is hers, and let it go on:");
    println!("     {binary} admin --socket {socket} holds place person:Ana --reason 'I want to see it'");
    println!("     {binary} admin --socket {socket} holds lift <the id that this prints>");
    if let Some(root) = stage.org.root {
        println!("   The browser warns of the page's certificate: its authority is the demonstration's own,");
        println!("   {root}, which connectors pin and no browser knows.");
    }
    println!("   All files, until Ctrl-C unless --data was given: {}", stage.dir.display());
}

/// Opens a shell with what Mallory has, and ends when it does.
pub(super) async fn attack(stage: &Stage) {
    if let Err(trouble) = stage.copy_disk("ana", "stolen") {
        return println!("   There is nothing to attack with: {trouble}");
    }
    let gateway = Probe::of(stage).await.map(|probe| probe.to_string()).unwrap_or_default();
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".into());
    println!(
        "\n   You are Mallory. In this shell, $STOLEN is a copy of Ana's disk: her device key and her session;"
    );
    println!(
        "   $ORG is her organisation, $GATEWAY the gateway's UDP port and key, $OPENZTNA this program. Try:"
    );
    println!("     $OPENZTNA connect \"$ORG\" --state-dir $STOLEN --no-browser   # be Ana's laptop");
    println!("     curl -k ${{ORG%#*}}/.well-known/openztna                      # what strangers are told");
    println!("     curl -k -X POST ${{ORG%#*}}/v1/token -d grant_type=refresh_token \\");
    println!(
        "       -d refresh_token=$(sed -n 's/.*\"refresh\": \"\\(.*\\)\".*/\\1/p' $STOLEN/session.json)"
    );
    println!("   Leave the shell to end everything.\n");
    let child = Command::new(shell)
        .current_dir(&stage.dir)
        .env("STOLEN", stage.path("stolen"))
        .env("ORG", stage.org.to_string())
        .env("GATEWAY", gateway)
        .env("OPENZTNA", binary())
        .env("OPENZTNA_CONNECTOR_PROXY__LISTEN", "127.0.0.1:0") // beside Ana's
        .status()
        .await;
    if let Err(error) = child {
        println!("   There is no shell: {error}");
    }
}

fn binary() -> String {
    std::env::current_exe().map_or_else(|_| "openztna".into(), |path| path.display().to_string())
}
