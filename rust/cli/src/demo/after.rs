//! What is left for the reader to try.

use std::io::Write as _;

use tokio::process::Command;

use super::stage::{Connected, Stage};
use crate::stop::asked_to_stop;

/// How to go on.
pub(super) fn hint() {
    println!("\n   Go on:  --keep     everything stays up, to try with curl and a browser");
    println!("           --attack   a shell as Mallory, with what was stolen at hand");
    println!("           --browser  sign in with your own browser       --json  every figure");
}

/// Lets everything run until Ctrl-C, and says how to use it.
pub(super) async fn keep(stage: &Stage, ana: &Connected) {
    print_uses(stage, ana).await;
    println!("\n   Everything stays up until Ctrl-C.");
    asked_to_stop().await;
}

async fn print_uses(stage: &Stage, ana: &Connected) {
    let binary =
        std::env::current_exe().map_or_else(|_| "openztna".into(), |path| path.display().to_string());
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
    println!("     {binary} admin --socket {socket} holds place person:Ana --reason 'I want to see it'");
    println!("     {binary} audit --socket {socket} verify");
    println!("   Ana's password at {}/openid: {}", stage.org.org, stage.password.expose());
    if let Some(root) = stage.org.root {
        println!("   A browser warns of that page's certificate: its authority is the demonstration's own,");
        println!("   {root}, which connectors pin and no browser knows.");
    }
    println!("   All files: {}", stage.dir.display());
    let _ = (std::io::stdout().flush(), &ana.application); // a reader that is gone reads nothing
}

/// Opens a shell with what Mallory has, and ends when it does.
pub(super) async fn attack(stage: &Stage, ana: &Connected) {
    print_uses(stage, ana).await;
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".into());
    let gateway = stage.gateway_status().await.map(|status| status.identity.wg_pub.to_string());
    println!(
        "\n   You are Mallory. $STOLEN is Ana's disk: her device key and session. $ORG is her organisation,"
    );
    println!("   $GATEWAY_KEY the gateway's WireGuard key. Leave the shell to end everything.\n");
    let child = Command::new(shell)
        .current_dir(&stage.dir)
        .env("STOLEN", stage.path("ana"))
        .env("ORG", stage.org.to_string())
        .env("GATEWAY_KEY", gateway.unwrap_or_default())
        .env("OPENZTNA", std::env::current_exe().unwrap_or_default())
        .status()
        .await;
    if let Err(error) = child {
        println!("   There is no shell: {error}");
    }
}
