use crate::exit::Exit;
use tokio::signal::unix::{SignalKind, signal};

/// Waits until somebody presses Ctrl-C or a service manager says that it is enough.
pub(crate) async fn asked_to_stop() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Ctrl-C still works.
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Ends this process when its standard input ends, that is, when whoever holds the other end of the pipe has.
pub(crate) fn end_with_standard_input() {
    std::thread::spawn(|| {
        // What is written there is not meant for us.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(Exit::Interrupted as i32);
    });
}

/// Ends this process quietly when whoever reads its output has enough, as `head` does. Rust's `println!` panics then, and
/// the way back to the signal that others die of is `unsafe`.
pub(crate) fn end_quietly_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        if said.starts_with("failed printing to std") && said.contains("Broken pipe") {
            std::process::exit(BROKEN_PIPE);
        }
        usual(panic);
    }));
}

/// As a shell reports a program that ended by SIGPIPE.
const BROKEN_PIPE: i32 = 128 + 13;
